"""What a tenant is shown of its own by an id, and of nobody else's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError
from liveweights.http.routes import Route
from liveweights.http.wire import check_text, reply
from liveweights.meter.limits import Limiter
from liveweights.store.database import Connection, Pool


@dataclass(frozen=True, slots=True)
class Viewer:
    """``tenant`` asks. ``sees_all``: the operator, and everybody where no keys are asked for."""

    tenant: str
    sees_all: bool


Show: TypeAlias = Callable[[Connection, str, Viewer], Awaitable[msgspec.Struct | None]]


@dataclass(frozen=True, slots=True)
class Lookup:
    """GET ``path``/ID shows the ``noun`` of that id; ``show`` says None where there is none that
    the viewer may see."""

    path: str
    noun: str
    show: Show


class LookupEndpoint:
    """One kind of things that are looked up."""

    def __init__(
        self, pool: Pool, authenticator: Authenticator, limiter: Limiter, lookup: Lookup
    ) -> None:
        self._pool = pool
        self._authenticator = authenticator
        self._limiter = limiter
        self._lookup = lookup

    @property
    def route(self) -> Route:
        """Where it is."""
        return Route("GET", self._lookup.path + "/{id}", self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate_reader(scope)
        await self._limiter.charge(client, "reads")
        asked: str = scope["path_params"]["id"]
        check_text(asked, "The id", "id")
        everybody = client.own or not self._authenticator.asks_for_keys
        async with self._pool.connection() as conn:
            shown = await self._lookup.show(conn, asked, Viewer(client.tenant, everybody))
        if shown is None:
            noun = self._lookup.noun
            message = f"No {noun} {asked[:100]!r} is recorded here."
            raise ApiError(404, message, param="id", code=f"{noun}_not_found")
        await reply(send, 200, msgspec.json.encode(shown))
