"""The API as an ASGI application."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.agent.tool import Agent
from liveweights.http.application import Application
from liveweights.http.authentication import Authenticator, for_readers
from liveweights.http.errors import ApiError
from liveweights.http.hosts import Hosts
from liveweights.http.origins import with_origins
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.slots import Slots
from liveweights.meter.keys import Keys
from liveweights.meter.limits import Limiter
from liveweights.serve.api.answer import Service
from liveweights.serve.api.chat import ChatEndpoint
from liveweights.serve.api.choice import Choices, RouteOf
from liveweights.serve.api.completions import CompletionsEndpoint
from liveweights.serve.api.editors import InfillEndpoint
from liveweights.serve.api.feedback import FeedbackEndpoint
from liveweights.serve.api.health import HealthEndpoint
from liveweights.serve.api.key import KeyEndpoint
from liveweights.serve.api.metrics import MetricsEndpoint
from liveweights.serve.api.models import Listing, ModelsEndpoint
from liveweights.serve.api.openapi import describe_api
from liveweights.serve.api.recorder import Conversations, Recorder, Responses
from liveweights.serve.api.refusals import REFUSALS
from liveweights.serve.api.responses.conversations import ConversationsEndpoint
from liveweights.serve.api.responses.endpoint import ResponsesEndpoint
from liveweights.serve.api.responses.stored import ResponseEndpoint
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.api.shadow import Shadow
from liveweights.serve.gateway.metrics import GatewayMetrics
from liveweights.serve.hosted.chains import list_chain
from liveweights.serve.hosted.door import Door
from liveweights.serve.hosted.door import Service as HostedService
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import unknown_facts


async def refuse_embeddings(scope: Scope, receive: Receive, send: Send) -> None:
    """POST /v1/embeddings"""
    message = (
        "The models here generate text and have no embeddings. "
        "Use /v1/chat/completions or /v1/completions, or another server for embeddings."
    )
    raise ApiError(400, message, code="unsupported_endpoint")


def make_limiter(settings: ApiSettings, **how: Any) -> Limiter:
    """``how`` is the Limiter's; without any it is this process's own."""
    return Limiter(settings.limits, settings.tenant_limits, **how)


def make_keys(settings: ApiSettings) -> Keys:
    return Keys(settings.keys, required=settings.require_keys)


def make_authenticator(
    settings: ApiSettings, service_key: str = "", *, keys: Keys | None = None
) -> Authenticator:
    """``keys`` are the settings', unless the caller keeps them up to date."""
    known = make_keys(settings) if keys is None else keys
    return Authenticator(known, operator_key=settings.operator_key, service_key=service_key)


def make_slots(settings: ApiSettings) -> Slots:
    return Slots(settings.max_running, settings.max_waiting)


def _hosted_only(hosted: HostedModels) -> Iterator[Candidate]:
    """Hosted models, and those that answer in their place; nothing else is known of them."""
    fallbacks = {model.alias: model.settings.fallback for model in hosted}
    chains = {name: list_chain(name, fallbacks) for name in fallbacks}
    for name in dict.fromkeys(chain.from_iterable(chains.values())):
        others = chains.get(name, [name])[1:]
        yield Candidate(facts=unknown_facts(name), fallback=tuple(others))


def create_app(
    models: Models,
    recorder: Recorder,
    settings: ApiSettings | None = None,
    *,
    hosted: HostedModels | None = None,
    terms: Terms | None = None,
    route_of: RouteOf | None = None,
    listing: Listing | None = None,
    shadow: Shadow | None = None,
    responses: Responses | None = None,
    slots: Slots | None = None,
    authenticator: Authenticator | None = None,
    limiter: Limiter | None = None,
    agent: Agent | None = None,
    conversations: Conversations | None = None,
    pages: Routes = (),
) -> ASGIApp:
    """The API over models and a record that the caller opened and will close.

    ``hosted`` models are answered for under their names, too; they may come and go, as ``models``
    may. ``terms`` say what each model may be used for, by default anything; ``route_of`` what a
    key's requests ask of a model where they do not say, by default what the settings say of its
    tenant; ``listing`` is what is said of the models. Without ``responses`` no conversation is kept
    for /v1/responses, without ``conversations`` none has a name. ``slots`` are of the settings'
    size, unless the caller looks at them too. What an answer costs is known by the ``limiter``.
    Without an ``agent`` no tools are run here. ``pages`` are answered beside it.
    """
    settings = settings or ApiSettings()
    hosted = HostedModels() if hosted is None else hosted  # it may be empty now
    metrics = GatewayMetrics()
    authenticator = authenticator or make_authenticator(settings)
    limiter = limiter or make_limiter(settings)
    terms = terms or Terms(_hosted_only(hosted))
    choices = Choices(terms, models, route_of or settings.route_of)
    service = Service(
        models,
        recorder,
        settings,
        metrics,
        responses,
        limiter,
        slots or make_slots(settings),
        authenticator,
        choices,
        shadow,
        agent,
        conversations,
    )
    listing = listing or Listing(models, hosted, terms)
    known = ModelsEndpoint(listing, authenticator, limiter)

    def answering(local: ASGIApp) -> ASGIApp:
        return Door(
            HostedService(
                hosted, models, recorder, settings, metrics, authenticator, limiter, choices
            ),
            local,
        )

    response = ResponseEndpoint(service)
    exposed = MetricsEndpoint(metrics, models, service.slots, recorder)
    routes: Routes = [
        Route("POST", "/infill", InfillEndpoint(service, listing)),
        Route("GET", "/openapi.json", describe_api),
        Route("GET", "/healthz", HealthEndpoint(models, recorder, hosted)),
        Route("GET", "/metrics", for_readers(authenticator, exposed)),
        Mount(
            "/v1",
            [
                Route("POST", "/completions", answering(CompletionsEndpoint(service))),
                Route("POST", "/chat/completions", answering(ChatEndpoint(service))),
                Route("POST", "/embeddings", answering(refuse_embeddings)),
                Route("POST", "/responses", answering(ResponsesEndpoint(service))),
                *(
                    Route(method, "/responses/{id}", response)
                    for method in ("GET", "POST", "DELETE")
                ),
                Route("POST", "/conversations", ConversationsEndpoint(service)),
                *(
                    Route(method, "/conversations/{id}", ConversationsEndpoint(service))
                    for method in ("GET", "POST", "DELETE")
                ),
                Route("POST", "/feedback", FeedbackEndpoint(service)),
                Route("GET", "/key", KeyEndpoint(authenticator, limiter)),
                Route("GET", "/models", known),
                Route("GET", "/models/{model}", known),
            ],
        ),
    ]
    hosts = Hosts(settings.hosts, settings.host)
    return with_origins(Application([*routes, *pages], metrics, hosts, REFUSALS), settings.origins)
