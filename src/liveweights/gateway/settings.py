"""What can be set about the gateway."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds

UPSTREAM_KEY = "LIVEWEIGHTS_UPSTREAM_KEY"


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[gateway]`` table."""

    upstream: Annotated[
        str,
        Meta(
            pattern=r"^(https?://\S+)?$",
            description="URL of an OpenAI-compatible server, with or without /v1. Given, "
            "`liveweights up` passes requests on to it, and runs no model of its own.",
        ),
    ] = ""
    key: Annotated[
        str,
        Meta(
            description=f"API key for the upstream; empty: ${UPSTREAM_KEY}, else the caller's own "
            "Authorization header is passed on."
        ),
    ] = ""
    connect_seconds: Annotated[
        float,
        Meta(gt=0, le=bounds.SECONDS, description="Longest wait for a connection to the upstream."),
    ] = 10.0
    silent_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest wait for the upstream's next byte, the first included.",
        ),
    ] = 600.0

    def upstream_key(self) -> str:
        """What is sent in place of the caller's header; empty for none."""
        return self.key or os.environ.get(UPSTREAM_KEY, "")
