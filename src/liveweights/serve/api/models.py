"""GET /v1/models and /v1/models/{id}"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.wire import reply
from liveweights.meter.limits import Limiter
from liveweights.meter.price_book import NOTHING_HELD
from liveweights.meter.tariffs import Tariffs
from liveweights.serve.api.objects import Branch, Canary, ModelList
from liveweights.serve.api.objects import Model as ModelObject
from liveweights.serve.api.pricing import find_pricing
from liveweights.serve.api.profile import (
    Capabilities,
    Profile,
    Standing,
    State,
    Warned,
)
from liveweights.serve.api.refusals import model_not_found
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Model, Models
from liveweights.serve.router import Route, Router, UnknownModel
from liveweights.terms.current import Terms
from liveweights.terms.decision import Decision

UNKNOWN = Profile()
NOTHING = Standing()
THINKING = ("think", "reasoning")
"""Words of a chat template that can have a model think before it answers."""


class Listing:
    """Everything that is known of the models of a service, gathered from all who know. All that it
    is made of may change while it is there."""

    def __init__(
        self,
        models: Models,
        hosted: HostedModels,
        terms: Terms,
        *,
        profiles: Mapping[str, Profile] | None = None,
        standings: Mapping[str, Standing] | None = None,
        tariffs: Tariffs | None = None,
    ) -> None:
        """Without ``tariffs`` prices are those of the ``profiles``."""
        self._models = models
        self._hosted = hosted
        self._terms = terms
        self._profiles = {} if profiles is None else profiles
        self._standings = {} if standings is None else standings
        self._tariffs = tariffs

    def read(self, tenant: str | None = None) -> list[ModelObject]:
        """Every alias and hosted model; ``tenant``: whose use the terms are asked about, who is not
        told of those that are not visible. None: the operator."""
        local = [
            self._describe(route.name, route, self._models.find(route.name), tenant)
            for route in self._models.routes()
        ]
        hosted = [self._describe_hosted(model, tenant) for model in self._hosted]
        return [one for one in (*local, *hosted) if one.visible or tenant is None]

    def local(self, tenant: str | None = None) -> list[str]:
        """The names among ``read``'s that are aliases."""
        names = [route.name for route in self._models.routes()]
        return [one for one in names if tenant is None or self._is_visible(one)]

    def find(self, name: str, tenant: str | None = None) -> ModelObject:
        """An alias, a hosted model, or a resident checkpoint. Raises ApiError 404."""
        if (hosted := self._hosted.get(name)) is not None:
            return self._describe_hosted(hosted, tenant)
        try:
            model = self._models.find(name)
        except UnknownModel:
            raise model_not_found(name) from None
        if not model.router.may_ask(name, tenant):
            raise model_not_found(name)
        routes = {route.name: route for route in model.router.routes()}
        known = name if name in routes else next(iter(routes), name)
        route = routes.get(name) or Route(name, name, None, 0.0, 0)
        return self._describe(known, route, model, tenant)

    def _describe(self, known: str, route: Route, model: Model, tenant: str | None) -> ModelObject:
        """Of a model of ours, of which most is known under the name ``known``; the tokens of its
        context by both names that clients look for."""
        own = model.router.branch_of(known, tenant) if known == route.name else None
        if own is not None:
            route = replace(own, name=known)
        registered = model.router.known(route.live)
        context = model.engine.context_length
        return ModelObject(
            id=route.name,
            created=route.since,
            checkpoint=route.live,
            root=(registered.base if registered else None) or route.live,
            parent=registered.parent if registered else None,
            context_length=context,
            max_model_len=context,
            canary=Canary(route.canary, route.share) if route.canary else None,
            state="cold" if own and not model.router.ready(own.live) else model.state(route.live),
            capabilities=find_capabilities(model),
            tenant=UNSET if own is None or own.tenant is None else own.tenant,
            tenants=UNSET if tenant is not None else _list_branches(model.router, known),
            **self._known(known, tenant),
        )

    def _describe_hosted(self, model: Hosted, tenant: str | None) -> ModelObject:
        profile = self._profiles.get(model.alias, UNKNOWN)
        state: State = "resting" if model.breaker.pause else "ready"
        return ModelObject(
            id=model.alias,
            created=model.since,
            checkpoint=model.checkpoint,
            root=model.settings.model,
            parent=None,
            context_length=profile.context,
            max_model_len=profile.context,
            canary=None,
            owned_by="hosted",
            state=state,
            capabilities=profile.capabilities,
            **self._known(model.alias, tenant),
        )

    def _is_visible(self, name: str) -> bool:
        return self._profiles.get(name, UNKNOWN).visible

    def _known(self, name: str, tenant: str | None) -> dict[str, Any]:
        profile = self._profiles.get(name, UNKNOWN)
        standing = self._standings.get(name, NOTHING)
        held = NOTHING_HELD
        if self._tariffs is not None:
            held = self._tariffs.find(tenant or "", name, datetime.now(UTC))
        decided = self._terms.decide(name, self._terms.ask("route", tenant))
        return {
            "base": profile.base,
            "maker": profile.maker,
            "country": profile.country,
            "licence": profile.licence,
            "duties": profile.duties,
            "notices": decided.notices,
            "warnings": _warnings(decided),
            "pricing": find_pricing(held, profile.pricing),
            "data": profile.data,
            "verdict": standing.verdict,
            "accept_rate": standing.accept_rate,
            "latency": standing.latency,
            "visible": self._is_visible(name),
        }


class ModelsEndpoint:
    """Lists the aliases and hosted models; shows one of them, or one resident checkpoint."""

    def __init__(self, listing: Listing, authenticator: Authenticator, limiter: Limiter) -> None:
        self._listing = listing
        self._limiter = limiter
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate_reader(scope, use=None, own=True)
        await self._limiter.charge(client, "reads")
        tenant = None if client.own else client.tenant
        name: str | None = scope["path_params"].get("model")
        body: Any
        if name is None:
            body = ModelList(self._listing.read(tenant))
        else:
            body = self._listing.find(name, tenant)
        await reply(send, 200, msgspec.json.encode(body))


def _list_branches(router: Router, model: str) -> list[Branch] | UnsetType:
    branches = [
        Branch(
            route.tenant or "",
            route.live,
            Canary(route.canary, route.share) if route.canary else None,
            router.ready(route.live),
        )
        for route in router.branches()
        if route.model == model
    ]
    return branches or UNSET


def find_capabilities(model: Model) -> Capabilities:
    """By its engine, its tokenizer and its template."""
    template = str(model.tokenizer.chat_template or "") if model.template else ""
    return Capabilities(
        chat=model.template is not None,
        completion=True,
        infill=model.infill is not None,
        tools=model.template is not None and model.syntax is not None,
        json="constraint" in model.engine.guidance,
        reasoning=model.thinker is not None or any(word in template for word in THINKING),
        vision=False,
    )


def _warnings(decided: Decision) -> tuple[Warned, ...]:
    return tuple(
        Warned(rule=one.rule, reason=str(one))
        for one in decided.matched
        if one.then == "warn" and one.aside is None
    )
