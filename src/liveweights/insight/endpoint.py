"""The questions over HTTP: ``GET /insight/QUESTION?since=7d&by=checkpoint``."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import psycopg
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError, bad_request, too_many
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.slots import QueueFull, Slots
from liveweights.http.wire import read_query, reply
from liveweights.insight.catalogue import QUESTIONS, Question, check_key
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.learn.rewards import RewardMap
from liveweights.meter.limits import Limiter
from liveweights.store.database import Pool

AT_ONCE, WAITING = 2, 32
"""Questions; tenants take turns. Their connections are those of all that users wait for."""
LONGEST_SECONDS = 30
PARAMETERS = ("since", "until", "step", "by", "alias", "tenant")


class InsightEndpoint:
    """Where API keys are configured one is needed, and answers are about its tenant only; with the
    operator's key they are about all, or the tenant that is asked about."""

    def __init__(
        self, pool: Pool, authenticator: Authenticator, limiter: Limiter, rewards: RewardMap
    ) -> None:
        self._pool = pool
        self._slots = Slots(AT_ONCE, WAITING)
        self._authenticator = authenticator
        self._limiter = limiter
        self._rewards = rewards

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
        try:
            async with self._slots.hold(1, tenant=client.tenant), self._pool.connection() as conn:
                await conn.execute(f"set local statement_timeout = '{LONGEST_SECONDS}s'".encode())
                rows = await QUESTIONS[name].ask(conn, window, self._rewards, by)
        except QueueFull as error:
            raise too_many(f"Too many questions at once: {error}.", "queue", 2.0) from None
        except psycopg.errors.QueryCanceled:
            message = f"The answer takes more than {LONGEST_SECONDS} s; ask about a shorter time."
            raise ApiError(408, message, type="timeout_error", code="deadline_exceeded") from None
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
    pool: Pool, authenticator: Authenticator, limiter: Limiter, rewards: RewardMap
) -> Routes:
    endpoint = InsightEndpoint(pool, authenticator, limiter, rewards)
    return [Mount("/insight", [Route("GET", "/{question}", endpoint)])]
