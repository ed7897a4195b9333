"""What can be set about the gateway."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.serve.gateway.members import Extra

UPSTREAM_KEY = "LIVEWEIGHTS_UPSTREAM_KEY"

PassedPath = Annotated[str, Meta(pattern=r"^([A-Z]+ )?/v1(/[!-~]*[^/ ])?$")]

PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"),
    *("/v1/moderations", "/v1/rerank", "GET /v1/models"),
    *("/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"),
    *("/v1/images/generations", "/v1/images/edits", "/v1/images/variations"),
    *("/v1/conversations", "/v1/files", "/v1/uploads", "/v1/batches", "/v1/vector_stores"),
)


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
    paths: Annotated[
        list[PassedPath],
        Meta(
            description="Where keys tell tenants apart: the paths that pass, each with all "
            "below it; `GET /v1/models` allows one method. Lists of objects, such as `GET "
            "/v1/files`, pass only where they are named so: they show what other tenants made."
        ),
    ] = msgspec.field(default_factory=lambda: list(PATHS))
    tenant_paths: Annotated[
        dict[str, list[PassedPath]],
        Meta(description="Tenant to its own list, in place of `paths`."),
    ] = msgspec.field(default_factory=dict[str, list[str]])
    extras: Annotated[
        list[Extra],
        Meta(
            description="Members of requests that pass where keys tell tenants apart or have "
            "budgets, although with them upstreams choose another model, or what costs more than "
            "its tokens."
        ),
    ] = msgspec.field(default_factory=list[Extra])
    tokenizer: Annotated[
        str,
        Meta(
            description="Folder of the upstream's model, or its `tokenizer.json`: with it tokens "
            "are counted that the upstream does not count. Empty: one for every 4 bytes of text."
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

    def paths_of(self, tenant: str) -> list[str]:
        """What passes for ``tenant``."""
        return self.tenant_paths.get(tenant, self.paths)
