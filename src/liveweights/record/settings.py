"""How long and where the record is kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[record]`` table."""

    spill_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Disk for answers that wait while Postgres is away; then the API "
            "waits too.",
        ),
    ] = 2**30
