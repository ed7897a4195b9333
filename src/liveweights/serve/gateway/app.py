"""The gateway as an ASGI application."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.http.application import Application
from liveweights.http.authentication import Authenticator, for_readers
from liveweights.http.glance import Glance
from liveweights.http.hosts import Hosts
from liveweights.http.metrics import CONTENT_TYPE
from liveweights.http.origins import with_origins
from liveweights.http.routes import ANY, Route, Routes
from liveweights.http.wire import reply
from liveweights.meter.limits import Limiter
from liveweights.serve.api.app import make_authenticator, make_limiter
from liveweights.serve.api.feedback import FeedbackEndpoint
from liveweights.serve.api.key import KeyEndpoint
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.api.refusals import REFUSALS
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.counts import Count, count_bytes
from liveweights.serve.gateway.metrics import GatewayMetrics
from liveweights.serve.gateway.openapi import describe_gateway
from liveweights.serve.gateway.proxy import Gateway, Proxy
from liveweights.serve.gateway.upstream import Upstream, UpstreamAway

PATIENCE = 5.0
"""Seconds that a look at the upstream may take: whoever asks for our health waits for it."""


class HealthEndpoint:
    """GET /healthz: whether the upstream answers at all, and the record is not late."""

    def __init__(self, upstream: Upstream, recorder: Recorder) -> None:
        self._upstream = upstream
        self._recorder = recorder
        self._answering = Glance(self._ask)

    async def _ask(self) -> tuple[bool, str]:
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self._upstream.ask("GET", "/v1/models", [], None) as answer,
            ):
                status = answer.head.status
            return status < 500, f"it answers {status}"
        except UpstreamAway as error:
            return False, str(error)
        except TimeoutError:
            return False, f"it has not answered for {PATIENCE:g} s"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        well, why = await self._answering()
        if (complaint := self._recorder.backlog.complaint) is not None:
            well, why = False, complaint
        body = {"status": "ok" if well else "unavailable", "upstream": self._upstream.address}
        body |= {} if well else {"why": why}
        await reply(send, 200 if well else 503, msgspec.json.encode(body))


class DescriptionEndpoint:
    """GET /openapi.json"""

    def __init__(self, document: bytes) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 200, self._document)


class MetricsEndpoint:
    """GET /metrics"""

    def __init__(self, metrics: Metrics, recorder: Recorder) -> None:
        self._metrics = metrics
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = self._metrics.expose(self._recorder.backlog)
        await reply(send, 200, text, content_type=CONTENT_TYPE)


def create_gateway(
    upstream: Upstream,
    recorder: Recorder,
    settings: ApiSettings | None = None,
    *,
    key: str = "",
    access: Access | None = None,
    count: Count = count_bytes,
    authenticator: Authenticator | None = None,
    limiter: Limiter | None = None,
    pages: Routes = (),
) -> ASGIApp:
    """The gateway over an open upstream and a record that the caller will close.

    ``access`` says what passes for whom, where the settings have keys: ValueError without it.
    ``count`` estimates tokens that the upstream does not count. ``pages`` are answered here.
    """
    settings, metrics = settings or ApiSettings(), GatewayMetrics()
    if settings.asks_for_keys and access is None:
        raise ValueError("tenants share the upstream: `access` has to tell them apart")
    authenticator = authenticator or make_authenticator(settings)
    limiter = limiter or make_limiter(settings)
    gateway = Gateway(
        upstream,
        recorder,
        settings,
        metrics,
        key,
        authenticator,
        limiter,
        access if settings.asks_for_keys else None,
        count,
    )
    exposed = MetricsEndpoint(metrics, recorder)
    routes: Routes = [
        Route("POST", "/v1/feedback", FeedbackEndpoint(gateway)),
        Route("GET", "/v1/key", KeyEndpoint(authenticator, limiter)),
        Route("GET", "/healthz", HealthEndpoint(upstream, recorder)),
        Route("GET", "/metrics", for_readers(authenticator, exposed)),
        Route(ANY, "/v1/*", Proxy(gateway)),
        *pages,
    ]
    document = describe_gateway(upstream.settings, routes, by_key=settings.asks_for_keys)
    described = Route("GET", "/openapi.json", DescriptionEndpoint(document))
    hosts = Hosts(settings.hosts, settings.host)
    app = Application([*routes, described], metrics, hosts, REFUSALS)
    return with_origins(app, settings.origins)
