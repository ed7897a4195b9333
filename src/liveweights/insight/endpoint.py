"""The questions over HTTP: ``GET /insight/QUESTION?since=7d&by=checkpoint``."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.api.caller import tenant_of
from liveweights.api.errors import ApiError, bad_request
from liveweights.api.settings import ApiSettings
from liveweights.api.wire import reply
from liveweights.insight.catalogue import QUESTIONS, check_key
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.learn.rewards import RewardMap
from liveweights.store.database import Pool

PREFIX = "/insight/"
PARAMETERS = ("since", "until", "step", "by", "alias", "tenant")


class InsightRoute:
    """Answers below ``/insight/`` and hands everything else to ``app``.

    Where API keys are configured one is needed, and answers are about its tenant only.
    """

    def __init__(self, app: ASGIApp, pool: Pool, settings: ApiSettings, rewards: RewardMap) -> None:
        self._app = app
        self._pool = pool
        self._settings = settings
        self._rewards = rewards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            await reply(send, 200, await self._answer(scope))
        except ApiError as error:
            await reply(send, error.status, error.body(), error.headers)

    async def _answer(self, scope: Scope) -> bytes:
        """Raises ApiError."""
        name = scope["path"].removeprefix(PREFIX)
        if name not in QUESTIONS:
            listed = ", ".join(QUESTIONS)
            raise ApiError(404, f"There is no such question; there are {listed}.", code="not_found")
        if scope["method"] not in ("GET", "HEAD"):
            raise ApiError(405, "Questions take GET.", code="method_not_allowed")
        given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if unknown := [key for key in given if key not in PARAMETERS]:
            listed = ", ".join(PARAMETERS)
            raise bad_request(f"Unknown parameter {unknown[0]!r}; there are {listed}.", unknown[0])
        try:
            by = check_key(name, given.get("by"))
            window = self._window(scope, given)
        except (ValueError, WindowError) as error:
            raise bad_request(f"{error}.") from None
        async with self._pool.connection() as conn:
            rows = await QUESTIONS[name].ask(conn, window, self._rewards, by)
        return msgspec.json.encode({"question": name, "window": window, "by": by, "rows": rows})

    def _window(self, scope: Scope, given: dict[str, str]) -> Window:
        window = make_window(
            given.get("since", "7d"),
            given.get("until", "now"),
            given.get("step"),
            alias=given.get("alias"),
            tenant=given.get("tenant"),
        )
        if not self._settings.keys:
            return window
        return replace(window, tenant=tenant_of(Headers(scope=scope), self._settings))
