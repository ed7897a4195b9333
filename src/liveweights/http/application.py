"""The one ASGI application: a request to its endpoint, and every failure to an error object."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TypeAlias

from starlette.types import Message, Receive, Scope, Send

from liveweights.http.errors import ApiError, database_away, internal, limit_reached
from liveweights.http.hosts import Hosts
from liveweights.http.metrics import RequestMetrics
from liveweights.http.routes import Routes, Table
from liveweights.http.wire import ClientGone, check_text, reply
from liveweights.meter.leases import LeasesAway
from liveweights.meter.limits import LimitReached
from liveweights.store.faults import AWAY

log = logging.getLogger(__name__)

Refusals: TypeAlias = Mapping[type[Exception], Callable[[Exception], ApiError]]
"""Failures of other parts of the service, and what a client is told of each."""
NONE: Refusals = MappingProxyType({})


class Application:
    """Answers everything: an endpoint does, or an error object; and everything is counted."""

    def __init__(
        self, routes: Routes, metrics: RequestMetrics, hosts: Hosts, refusals: Refusals = NONE
    ) -> None:
        self._table = Table(routes)
        self._hosts = hosts
        self._refusals = tuple(refusals.items())
        self._refusable = tuple(refusals)
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
        route, params = self._table.match(scope["path"])
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
            endpoint = self._table.endpoint(route, scope)
            await endpoint({**scope, "path_params": params}, receive, noting)
        except ApiError as error:
            await self._refuse(noting, error)
        except LimitReached as error:
            await self._refuse(noting, limit_reached(error))
        except LeasesAway as error:
            log.warning("%s waits for the database: %s", route, error)
            await self._refuse(noting, database_away("What the key may spend cannot be looked up"))
        except ClientGone:
            pass
        except AWAY as error:
            if status:
                raise
            log.warning("%s waits for the database: %s", route, error)
            await self._refuse(noting, database_away())
        except self._refusable as error:
            if status:
                raise
            await self._refuse(noting, self._refusal(error))
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

    async def _refuse(self, send: Send, error: ApiError) -> None:
        if error.status == 429:
            self._refused(error.type).inc()
        await reply(send, error.status, error.body(), error.headers)

    def _refusal(self, error: Exception) -> ApiError:
        return next(say(error) for kind, say in self._refusals if isinstance(error, kind))


async def _live(receive: Receive, send: Send) -> None:
    """Nothing to start or stop: the caller owns what the endpoints stand on."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
