"""What can be set about the API."""

from __future__ import annotations

from typing import Annotated

import msgspec

from liveweights import bounds

Key = Annotated[str, msgspec.Meta(min_length=16, max_length=512, pattern=r"^[!-~]*$")]
Tenant = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per API key; 0 means no limit."""

    requests_per_minute: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="Requests for answers per minute.")
    ] = 0
    tokens_per_minute: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Tokens of prompts and answers per minute. A request is counted with the "
            "fewest that its length allows when it comes in, then with its prompt and max_tokens, "
            "and with what it used when it has been answered.",
        ),
    ] = 0
    feedback_per_minute: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="Reactions per minute.")
    ] = 0
    reads_per_minute: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Questions to /insight, and models and stored responses that are looked up "
            "or deleted, per minute.",
        ),
    ] = 0
    concurrency: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="Requests being answered at once.")
    ] = 0


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client may do before anybody knows who it is."""

    max: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=bounds.COUNT,
            description="Connections at once. Above it the one whose client has kept the server "
            "waiting for the longest is closed; where no client does, new ones get a 503.",
        ),
    ] = 2048
    header_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=4096,
            le=2**20,
            description="All headers of a request together, each counted with 32 bytes more than "
            "its text (RFC 9113, section 6.5.2); more are refused with 431.",
        ),
    ] = 64 * 1024
    header_seconds: Annotated[
        float, msgspec.Meta(gt=0, le=3600, description="Longest wait for a request's headers.")
    ] = 10.0
    body_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=3600,
            description="Longest wait for a request's body; each 4 KiB of it that have come give "
            "one second more.",
        ),
    ] = 30.0
    send_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=3600, description="Longest wait for a client that takes nothing of its answer."
        ),
    ] = 60.0


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: Annotated[str, msgspec.Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535, description="Port; 0 takes a free one.")] = (
        8090
    )
    hosts: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"^(\*|(\*\.)?[A-Za-z0-9._-]{1,253})$")]],
        msgspec.Meta(
            description="Names that the service is reached under, besides addresses, names "
            "without a dot, and those of a machine, local network or cluster: its public name "
            "behind a proxy. '*.example.com': all below; '*': any. Others are refused with 421."
        ),
    ] = msgspec.field(default_factory=list[str])
    keys: Annotated[
        dict[Key, Tenant],
        msgspec.Meta(
            description="API key to tenant; a key has at least 16 characters, printable ones "
            "without spaces. Empty: no key is asked for, the tenant is 'default'."
        ),
    ] = msgspec.field(default_factory=dict[str, str])
    open: Annotated[
        bool,
        msgspec.Meta(
            description="Whether it is meant that callers without a key are answered: where `host` "
            "is reached from other machines, or where a secret of yours is used for them "
            "(`gateway.key`, `openai.key`, `vllm.key`); not both."
        ),
    ] = False
    operator_key: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([!-~]{16,512})?$",
            description="Password of the operator's pages at /releases (any user name), and the "
            "key of programs that use them, of at least 16 characters. Empty: there are no such "
            "pages.",
        ),
    ] = ""
    consent: Annotated[
        bool,
        msgspec.Meta(description="Whether answers may be trained on when a request does not say."),
    ] = True
    tenant_consent: Annotated[
        dict[str, bool],
        msgspec.Meta(description="Tenant to its own default, in place of `consent`."),
    ] = msgspec.field(default_factory=dict[str, bool])
    prompt_control_tokens: Annotated[
        bool,
        msgspec.Meta(
            description="Whether control tokens that a prompt of /v1/completions spells out are "
            "these tokens: editors write fill-in-the-middle prompts so. false: they are text, as "
            "they always are in messages, tools and suffixes."
        ),
    ] = True
    max_body_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1024, le=bounds.COUNT, description="Larger request bodies are refused with 413."
        ),
    ] = 2 * 1024 * 1024
    connections: ConnectionSettings = ConnectionSettings()
    max_chat_tokens: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=bounds.COUNT,
            description="Longest chat answer, in tokens, for a request that sets no limit.",
        ),
    ] = 1024
    limits: RateLimits = RateLimits()
    tenant_limits: Annotated[
        dict[str, RateLimits],
        msgspec.Meta(description="Tenant to the limits of each of its keys, in place of `limits`."),
    ] = msgspec.field(default_factory=dict[str, RateLimits])
    max_running: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=bounds.COUNT,
            description="Answers that are computed at once; others wait in line.",
        ),
    ] = 64
    max_waiting: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Requests that may wait in line; more are refused (429).",
        ),
    ] = 256
    deadline_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest time from request to last byte. The header 'x-request-timeout' "
            "(seconds) can only shorten it.",
        ),
    ] = 600.0
    origins: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=512)]],
        msgspec.Meta(
            max_length=256,
            description="Sites whose pages may call the API from a browser (CORS), such as "
            '"https://app.example.com"; "*" for all.',
        ),
    ] = []
    strict: Annotated[
        bool,
        msgspec.Meta(
            description="Refuse (400) what a request has that is not known or not done here, in "
            "place of leaving it out and naming it in the header x-ignored-parameters. A request "
            "may ask for it: x-strict: 1."
        ),
    ] = False
    deaf_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=1,
            le=bounds.SECONDS,
            description="Longest time that GET /healthz may have no answer at all, once the "
            "service was ready; then its process is ended and started again.",
        ),
    ] = 60.0

    def training_allowed(self, tenant: str) -> bool:
        return self.tenant_consent.get(tenant, self.consent)
