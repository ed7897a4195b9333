"""The questions over HTTP: ``GET /insight/QUESTION?since=7d&by=checkpoint``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.connections import Connections
from liveweights.http.errors import ApiError, bad_request
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.wire import read_query, reply
from liveweights.insight.catalogue import QUESTIONS, Question, check_key
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.insight.worths import Worths
from liveweights.meter.limits import Limiter
from liveweights.store.database import Pool

PARAMETERS = ("since", "until", "step", "by", "alias", "tenant")


class InsightEndpoint:
    """Where API keys are configured one is needed, and answers are about its tenant only; with the
    operator's key they are about all, or the tenant that is asked about."""

    def __init__(
        self, pool: Pool, authenticator: Authenticator, limiter: Limiter, now: Callable[[], Worths]
    ) -> None:
        """``now`` says what reactions are worth when a question is asked: models come and go."""
        self._connections = Connections(pool)
        self._authenticator = authenticator
        self._limiter = limiter
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate_reader(scope)
        await self._limiter.charge(client, "reads")
        name = scope["path_params"]["question"]
        if name not in QUESTIONS:
            listed = ", ".join(QUESTIONS)
            raise ApiError(404, f"There is no such question; there are {listed}.", code="not_found")
        given = read_query(scope, PARAMETERS)
        try:
            by = check_key(name, given.get("by"))
            window = _window(QUESTIONS[name], given)
        except (ValueError, WindowError) as error:
            raise bad_request(f"{error}.") from None
        if self._authenticator.asks_for_keys and not client.own:
            window = replace(window, tenant=client.tenant)
        async with self._connections.take(client.tenant) as conn:
            rows = await QUESTIONS[name].ask(conn, window, self._now(), by)
        answer = {"question": name, "window": window, "by": by, "rows": rows}
        await reply(send, 200, msgspec.json.encode(answer))


def _window(question: Question, given: dict[str, str]) -> Window:
    return make_window(
        given.get("since", "7d"),
        given.get("until", "now"),
        given.get("step"),
        alias=given.get("alias"),
        tenant=given.get("tenant"),
        sum=question.drawn is None,
    )


def insight_routes(
    pool: Pool, authenticator: Authenticator, limiter: Limiter, now: Callable[[], Worths]
) -> Routes:
    endpoint = InsightEndpoint(pool, authenticator, limiter, now)
    return [Mount("/insight", [Route("GET", "/{question}", endpoint)])]
