"""What can be set about the API."""

from __future__ import annotations

from typing import Annotated

import msgspec

from liveweights import bounds
from liveweights.http.settings import ServerSettings
from liveweights.meter.keys import Client
from liveweights.meter.settings import Key, RateLimits, Tenant
from liveweights.terms.route import ANY, Route, parse_route


class ApiSettings(ServerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[api]`` table."""

    keys: Annotated[
        dict[Key, Tenant],
        msgspec.Meta(
            description="API key to tenant; a key has at least 16 characters, printable ones "
            "without spaces. Others are made with `liveweights keys create`. Empty, and without "
            "`require_keys`: no key is asked for, the tenant is 'default'."
        ),
    ] = msgspec.field(default_factory=dict[str, str])
    require_keys: Annotated[
        bool,
        msgspec.Meta(
            description="Whether every request needs a key, also where `keys` has none: those that "
            "`liveweights keys create` makes."
        ),
    ] = False
    open: Annotated[
        bool,
        msgspec.Meta(
            description="Whether it is meant that callers without a key are answered: where `host` "
            "is reached from other machines, or where a secret of yours is used for them "
            "(`gateway.key`, `openai.key`, `vllm.key`, a `key_env`); not both."
        ),
    ] = False
    operator_key: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([!-~]{16,512})?$",
            description="Password of the operator's pages at / (any user name), and the key of "
            "programs that use them, of at least 16 characters. Empty: there are no such pages.",
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
    route: Annotated[
        Route,
        msgspec.Meta(description="What a model must be to answer, where a request does not say."),
    ] = ANY
    tenant_routes: Annotated[
        dict[Tenant, Route],
        msgspec.Meta(description="Tenant to its own, in place of `route`."),
    ] = msgspec.field(default_factory=dict[str, Route])
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
    abandoned_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=bounds.SECONDS,
            description="Longest time that an upstream's answer which is not streamed is read on "
            "once its client has left or its deadline has passed, so that it is recorded: the "
            "upstream charges for all of it. What has not come by then is not recorded.",
        ),
    ] = 600.0
    origins: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=512)]],
        msgspec.Meta(
            max_length=256,
            description="Sites whose pages may call the API from a browser (CORS), such as "
            '"https://app.example.com"; "*" for all.',
        ),
    ] = msgspec.field(default_factory=list[str])
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

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers are told apart by keys."""
        return self.require_keys or bool(self.keys)

    def route_of(self, client: Client) -> Route:
        """What its requests ask of a model where they do not say: what the key has, and of its
        tenant's what the key does not say. Raises RouteError."""
        route = self.tenant_routes.get(client.tenant, self.route)
        return parse_route(client.rights.route, route) if client.rights.route else route

    def training_allowed(self, tenant: str) -> bool:
        return self.tenant_consent.get(tenant, self.consent)
