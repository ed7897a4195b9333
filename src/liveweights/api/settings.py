"""What can be set about the API."""

from __future__ import annotations

from typing import Annotated

import msgspec


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: Annotated[str, msgspec.Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535, description="Port; 0 takes a free one.")] = (
        8090
    )
    keys: Annotated[
        dict[str, str],
        msgspec.Meta(
            description="API key to tenant. Empty: no key is asked for, the tenant is 'default'."
        ),
    ] = msgspec.field(default_factory=dict[str, str])
    consent: Annotated[
        bool,
        msgspec.Meta(description="Whether answers may be trained on when a request does not say."),
    ] = True
    tenant_consent: Annotated[
        dict[str, bool],
        msgspec.Meta(description="Tenant to its own default, in place of `consent`."),
    ] = msgspec.field(default_factory=dict[str, bool])
    max_body_bytes: Annotated[
        int, msgspec.Meta(ge=1024, description="Larger request bodies are refused with 413.")
    ] = 2 * 1024 * 1024
    max_chat_tokens: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="Longest chat answer, in tokens, for a request that sets no limit."
        ),
    ] = 1024

    def training_allowed(self, tenant: str) -> bool:
        return self.tenant_consent.get(tenant, self.consent)
