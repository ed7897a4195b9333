from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from tests.serve.api.doubles import Answer

from liveweights.http import connections
from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.insight.catalogue import QUESTIONS
from liveweights.insight.endpoint import insight_routes
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.meter.settings import RateLimits
from liveweights.serve.api.app import make_authenticator, make_limiter
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import open_pool

KEY = "key-of-one-012345"
KEYS = ApiSettings(keys={KEY: "one"})
NOT_RECORDED = ("unhappy", "load", "swaps", "revenue", "tools")
"""Questions about what one answer with one rating has nothing of."""


def get(
    dsn: str,
    path: str,
    settings: ApiSettings | None = None,
    key: str = "",
    *,
    away: bool = False,
    **query: str,
) -> Answer:
    answer = Answer()

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
        else:
            answer.parts.append(message["body"])

    async def main() -> None:
        pool = await open_pool(dsn)
        if away:
            await pool.close()
        authenticator = make_authenticator(settings or ApiSettings())
        app = Application(
            insight_routes(
                pool,
                authenticator,
                make_limiter(settings or ApiSettings()),
                lambda: Worths(RewardMap()),
            ),
            Metrics(),
            Hosts(()),
        )
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": urlencode(query).encode(),
            "headers": [(b"authorization", f"Bearer {key}".encode())] if key else [],
        }
        await app(scope, None, send)  # type: ignore[arg-type]
        await pool.close()

    asyncio.run(main())
    return answer


def test_every_question_answers(database_dsn: str) -> None:
    record(database_dsn, make_generation("g"), make_feedback("f", "g"))
    for name, question in QUESTIONS.items():
        answer = get(database_dsn, f"/insight/{name}", since="2025-12-01")
        assert answer.status == 200, answer.body
        found = answer.json()
        msgspec.convert(found["rows"], list[question.row])
        assert bool(found["rows"]) == (name not in NOT_RECORDED)


def test_with_keys_a_tenant_is_answered_about_itself(database_dsn: str) -> None:
    for tenant in ("one", "two"):
        record(database_dsn, make_generation(tenant, tenant=tenant))
    path, since = "/insight/usage", "2025-12-01"
    assert get(database_dsn, path, KEYS, since=since).status == 401
    found = get(database_dsn, path, KEYS, KEY, since=since, tenant="two").json()
    assert [row["key"] for row in found["rows"]] == ["one"]


@pytest.mark.parametrize(
    ("path", "query", "status", "told"),
    [
        ("/insight/mood", {}, 404, "accept-rate"),
        ("/insight/usage", {"since": "soon"}, 400, "7d"),
        ("/insight/usage", {"by": "phase"}, 400, "checkpoint, tenant"),
        ("/insight/swaps", {"by": "tenant"}, 400, "no 'by'"),
        ("/insight/usage", {"sinse": "7d"}, 400, "since, until"),
    ],
)
def test_what_is_wrong_is_told(
    database_dsn: str, path: str, query: dict[str, str], status: int, told: str
) -> None:
    answer = get(database_dsn, path, **query)
    assert answer.status == status
    assert told in answer.error()["message"]


def test_a_database_that_is_away_is_told(database_dsn: str) -> None:
    answer = get(database_dsn, "/insight/usage", away=True)
    assert answer.status == 503
    assert answer.error()["code"] == "database_unavailable"


def test_questions_have_a_limit_per_key(database_dsn: str) -> None:
    limits = ApiSettings(limits=RateLimits(reads_per_minute=1), keys={KEY: "one"})
    assert get(database_dsn, "/insight/usage", limits, KEY).status == 200

    async def main() -> list[int]:
        pool = await open_pool(database_dsn)
        limiter = make_limiter(limits)
        routes = insight_routes(
            pool, make_authenticator(limits), limiter, lambda: Worths(RewardMap())
        )
        app, found = Application(routes, Metrics(), Hosts(())), []

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/insight/usage",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {KEY}".encode())],
        }
        for _ in range(2):
            await app(scope, None, send)  # type: ignore[arg-type]
        await pool.close()
        return found

    assert asyncio.run(main()) == [200, 429]


def test_a_question_that_takes_too_long_is_ended(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(conn: Any, *_: Any) -> Any:
        await conn.execute("select pg_sleep(30)")

    usage = dataclasses.replace(QUESTIONS["usage"], ask=slow)
    monkeypatch.setitem(QUESTIONS, "usage", usage)
    monkeypatch.setattr(connections, "LONGEST_SECONDS", 1)
    answer = get(database_dsn, "/insight/usage")
    assert (answer.status, answer.error()["code"]) == (408, "deadline_exceeded")
