"""What can be set about telemetry."""

from __future__ import annotations

from typing import Annotated

import msgspec


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[telemetry]`` table."""

    endpoint: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(https?://[^\s@]+)?$",
            description="Where metrics of answers are sent by OTLP over HTTP, such as "
            "`http://127.0.0.1:4318/v1/metrics`, see docs/operate.md; empty: nowhere. It needs "
            "`pip install 'liveweights[telemetry]'`.",
        ),
    ] = ""
    seconds: Annotated[
        float, msgspec.Meta(ge=1, le=3600, description="Between two times that they are sent.")
    ] = 60.0
