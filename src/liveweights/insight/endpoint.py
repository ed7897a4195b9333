"""The questions over HTTP: ``GET /insight/QUESTION?since=7d&by=checkpoint``."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.api.app import Routes
from liveweights.api.authentication import Authenticator
from liveweights.api.errors import ApiError, bad_request
from liveweights.api.wire import read_query, reply
from liveweights.insight.catalogue import QUESTIONS, check_key
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.learn.rewards import RewardMap
from liveweights.store.database import Pool

PARAMETERS = ("since", "until", "step", "by", "alias", "tenant")


class InsightEndpoint:
    """Where API keys are configured one is needed, and answers are about its tenant only."""

    def __init__(self, pool: Pool, authenticator: Authenticator, rewards: RewardMap) -> None:
        self._pool = pool
        self._authenticator = authenticator
        self._rewards = rewards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate(scope)
        name = scope["path_params"]["question"]
        if name not in QUESTIONS:
            listed = ", ".join(QUESTIONS)
            raise ApiError(404, f"There is no such question; there are {listed}.", code="not_found")
        given = read_query(scope, PARAMETERS)
        try:
            by = check_key(name, given.get("by"))
            window = _window(given)
        except (ValueError, WindowError) as error:
            raise bad_request(f"{error}.") from None
        if self._authenticator.asks_for_keys:
            window = replace(window, tenant=client.tenant)
        async with self._pool.connection() as conn:
            rows = await QUESTIONS[name].ask(conn, window, self._rewards, by)
        found = {"question": name, "window": window, "by": by, "rows": rows}
        await reply(send, 200, msgspec.json.encode(found))


def _window(given: dict[str, str]) -> Window:
    return make_window(
        given.get("since", "7d"),
        given.get("until", "now"),
        given.get("step"),
        alias=given.get("alias"),
        tenant=given.get("tenant"),
    )


def insight_routes(pool: Pool, authenticator: Authenticator, rewards: RewardMap) -> Routes:
    return {"/insight/{question}": {"GET": InsightEndpoint(pool, authenticator, rewards)}}
