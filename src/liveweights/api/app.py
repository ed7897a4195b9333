"""The ASGI application: paths to endpoints, and every failure to an error object."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Mapping
from functools import cache

import psycopg
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liveweights.api.answer import Service
from liveweights.api.authentication import Authenticator, for_readers
from liveweights.api.chat import ChatEndpoint
from liveweights.api.completions import CompletionsEndpoint
from liveweights.api.editors import InfillEndpoint
from liveweights.api.encoder import Encoder
from liveweights.api.errors import ApiError, database_away, internal, shutting_down
from liveweights.api.feedback import FeedbackEndpoint
from liveweights.api.health import HealthEndpoint
from liveweights.api.hosts import Hosts
from liveweights.api.infill import find_infill
from liveweights.api.limits import Limiter
from liveweights.api.messages import Renderer
from liveweights.api.metrics import Metrics, MetricsEndpoint
from liveweights.api.models import ModelsEndpoint
from liveweights.api.openapi import describe_api
from liveweights.api.recorder import Recorder, Responses
from liveweights.api.responses.endpoint import ResponseEndpoint, ResponsesEndpoint
from liveweights.api.routing import Router
from liveweights.api.settings import ApiSettings
from liveweights.api.shadow import Shadow
from liveweights.api.slots import Slots
from liveweights.api.syntax.find import find_syntax
from liveweights.api.tokenization import Tokenizer
from liveweights.api.wire import ClientGone, check_text, reply
from liveweights.engines.protocol import Engine
from liveweights.record.writer import WriterClosed

log = logging.getLogger(__name__)

REST = "/v1/*"

Routes = Mapping[str, Mapping[str, ASGIApp]]
"""Path, then method, then endpoint. A path that ends in ``{name}`` takes the rest of a path as
that parameter, one that ends in ``*`` takes whatever is below; the method ``*`` is any other."""


class App:
    """Answers everything: an endpoint does, or an error object."""

    def __init__(self, routes: Routes, metrics: Metrics, hosts: Hosts) -> None:
        self._routes = routes
        self._hosts = hosts
        open_ended = [route for route in routes if route.endswith(("}", "*"))]
        prefixes = {re.sub(r"(\{\w+\}|\*)$", "", route): route for route in open_ended}
        self._prefixes = sorted(prefixes.items(), key=lambda item: -len(item[0]))
        # Labels are few, and finding their meters costs as much as using them.
        self._in_flight = cache(metrics.in_flight.labels)
        self._requests = cache(metrics.requests.labels)
        self._refused = cache(metrics.refused.labels)
        self._latency = cache(metrics.latency.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        started = time.perf_counter()
        route, params = self._match(scope["path"])
        status = 0

        def noting(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        label = route or "other"
        in_flight = self._in_flight(label)
        in_flight.inc()
        try:
            self._hosts.check(scope)
            check_text(scope["path"], "The path")
            endpoint = self._endpoint(route, scope)
            await endpoint({**scope, "path_params": params}, receive, noting)
        except ApiError as error:
            if error.status == 429:
                self._refused(error.type).inc()
            await reply(noting, error.status, error.body(), error.headers)
        except WriterClosed as error:
            if status:
                raise
            closing = shutting_down(error)
            await reply(noting, closing.status, closing.body(), closing.headers)
        except ClientGone:
            pass
        except psycopg.OperationalError as error:
            if status:
                raise
            log.warning("%s waits for the database: %s", route, error)
            away = database_away()
            await reply(noting, away.status, away.body(), away.headers)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if status:  # the answer has begun; the server can only cut it off
                raise
            await reply(noting, 500, internal().body())
        finally:
            in_flight.dec()
            # 499 is nginx's status for a client that did not wait.
            self._requests(label, str(status or 499)).inc()
            self._latency(label).observe(time.perf_counter() - started)

    def _match(self, path: str) -> tuple[str | None, dict[str, str]]:
        if path in self._routes:
            return path, {}
        for prefix, route in self._prefixes:
            if path.startswith(prefix) and path != prefix:
                name = route[len(prefix) :].strip("{}")
                return route, {name: path[len(prefix) :]}  # ids may hold slashes
        return None, {}

    def _endpoint(self, route: str | None, scope: Scope) -> ASGIApp:
        method: str = scope["method"]
        if route is None:
            raise ApiError(404, f"Unknown path: {method} {scope['path'][:200]}", code="not_found")
        methods = self._routes[route]
        endpoint = methods.get("GET" if method == "HEAD" else method) or methods.get("*")
        if endpoint is None and method == "OPTIONS":
            return _Options(methods)
        if endpoint is None:
            allowed = ", ".join(methods)
            message = f"{route} takes {allowed}, not {method[:20]}."
            headers = ((b"allow", allowed.encode()),)
            raise ApiError(405, message, code="method_not_allowed", headers=headers)
        return endpoint


class _Options:
    """OPTIONS: what else a path takes (RFC 9110, section 9.3.7)."""

    def __init__(self, methods: Mapping[str, ASGIApp]) -> None:
        heads = ["HEAD"] if "GET" in methods else []
        self._allowed = ", ".join([*methods, *heads, "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 204, b"", ((b"allow", self._allowed.encode()),))


async def refuse_embeddings(scope: Scope, receive: Receive, send: Send) -> None:
    """POST /v1/embeddings"""
    message = (
        "The models here generate text and have no embeddings. "
        "Use /v1/chat/completions or /v1/completions, or another server for embeddings."
    )
    raise ApiError(400, message, code="unsupported_endpoint")


async def _live(receive: Receive, send: Send) -> None:
    """Nothing to start or stop: the caller owns the engine and the writer."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def with_origins(app: ASGIApp, settings: ApiSettings) -> ASGIApp:
    """Pages of the ``origins`` in the settings may call, from a browser (Fetch standard, CORS)."""
    if not settings.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["x-generation-id", "x-checkpoint", "x-ignored-parameters", "retry-after"],
    )


def make_limiter(settings: ApiSettings) -> Limiter:
    return Limiter(settings.limits, settings.tenant_limits)


def make_slots(settings: ApiSettings) -> Slots:
    return Slots(settings.max_running, settings.max_waiting)


def create_app(
    engine: Engine,
    writer: Recorder,
    router: Router,
    tokenizer: Tokenizer,
    settings: ApiSettings | None = None,
    metrics: Metrics | None = None,
    template: Renderer | None = None,
    shadow: Shadow | None = None,
    responses: Responses | None = None,
    slots: Slots | None = None,
    authenticator: Authenticator | None = None,
    limiter: Limiter | None = None,
    pages: Routes | None = None,
) -> ASGIApp:
    """The API over an engine, a record and a router that the caller opened and will close.

    Without ``template`` there are no chats, and without ``responses`` no conversation is kept for
    /v1/responses. ``slots`` are of the settings' size, unless the caller looks at them too.
    ``pages`` are answered beside it.
    """
    settings = settings or ApiSettings()
    metrics = metrics or Metrics()
    authenticator = authenticator or Authenticator(settings)
    limiter = limiter or make_limiter(settings)
    service = Service(
        engine,
        writer,
        router,
        tokenizer,
        Encoder(tokenizer, engine.context_length),
        template,
        settings,
        metrics,
        find_infill(tokenizer),
        find_syntax(tokenizer),
        responses,
        limiter,
        slots or make_slots(settings),
        authenticator,
        shadow,
    )
    models = ModelsEndpoint(router, authenticator, limiter, engine.context_length)
    response = ResponseEndpoint(service)
    routes: dict[str, dict[str, ASGIApp]] = {
        "/v1/completions": {"POST": CompletionsEndpoint(service)},
        "/v1/chat/completions": {"POST": ChatEndpoint(service)},
        "/infill": {"POST": InfillEndpoint(service)},
        "/v1/embeddings": {"POST": refuse_embeddings},
        "/v1/responses": {"POST": ResponsesEndpoint(service)},
        "/v1/responses/{id}": {"GET": response, "DELETE": response},
        "/v1/feedback": {"POST": FeedbackEndpoint(service)},
        "/v1/models": {"GET": models},
        "/v1/models/{model}": {"GET": models},
        "/openapi.json": {"GET": describe_api},
        "/healthz": {"GET": HealthEndpoint(engine, router, writer)},
        "/metrics": {
            "GET": for_readers(
                authenticator, MetricsEndpoint(metrics, engine, router, service.slots, writer)
            )
        },
    }
    app = App({**routes, **(pages or {})}, metrics, Hosts(settings.hosts, settings.host))
    return with_origins(app, settings)
