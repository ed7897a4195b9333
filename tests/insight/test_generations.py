from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from tests.serve.api.doubles import Answer, make_tokenizer

from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.insight.endpoint import insight_routes
from liveweights.insight.lookups import lookup_routes
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.serve.api.app import make_authenticator, make_limiter
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import open_pool
from liveweights.weights.vocabulary import has_vocabulary, keep_vocabulary, spell_tokens

ONE, TWO, OPERATOR = "key-of-one-012345", "key-of-two-012345", "operator-0123456"
KEYS = ApiSettings(keys={ONE: "one", TWO: "two"}, operator_key=OPERATOR)
ASKED = "def f(x):\n\treturn é"


def get(
    dsn: str, path: str, key: str = "", settings: ApiSettings = KEYS, query: str = ""
) -> Answer:
    answer = Answer()

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
        else:
            answer.parts.append(message["body"])

    async def main() -> None:
        pool = await open_pool(dsn)
        authenticator, limiter = make_authenticator(settings), make_limiter(settings)
        routes = [
            *lookup_routes(pool, authenticator, limiter),
            *insight_routes(pool, authenticator, limiter, lambda: Worths(RewardMap())),
        ]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {key}".encode())] if key else [],
        }
        await Application(routes, Metrics(), Hosts(()))(scope, None, send)  # type: ignore[arg-type]
        await pool.close()

    asyncio.run(main())
    return answer


@pytest.fixture
def dsn(database_dsn: str) -> str:
    """An answer of each tenant; the base's vocabulary is known."""
    tokenizer = make_tokenizer()

    async def keep() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await conn.execute(
                "insert into checkpoints (id, kind, folder, card) values ('m@1', 'base', '/', '{}')"
            )
            assert not await has_vocabulary(conn, "m@1")
            for _ in range(2):  # the second changes nothing
                await keep_vocabulary(conn, "m@1", spell_tokens(tokenizer))
            assert await has_vocabulary(conn, "m@1")

    asyncio.run(keep())
    ids = tokenizer(ASKED).input_ids
    one = make_generation("gen_1", tenant="one", checkpoint="m@1", prompt_ids=ids, total_ms=2000.0)
    two = make_generation("gen_2", tenant="two", checkpoint="other@1", prompt='{"prompt": "x"}')
    at = one.completed_at + timedelta(seconds=5)
    record(database_dsn, one, two, make_feedback("f", "gen_1", tenant="one", received_at=at))
    return database_dsn


def test_an_answer_is_shown_with_its_prompt_and_its_feedback(dsn: str) -> None:
    shown = get(dsn, "/v1/generations/gen_1", ONE).json()
    assert (shown["id"], shown["object"], shown["checkpoint"]) == ("gen_1", "generation", "m@1")
    assert shown["prompt"] == ASKED
    (reaction,) = shown["feedback"]
    assert (reaction["id"], reaction["signal"], reaction["delay"]) == ("f", "accepted", 5.0)
    assert get(dsn, "/v1/generations/resp_1", ONE).json()["id"] == "gen_1"


def test_a_tenant_sees_its_own_and_the_operator_all(dsn: str) -> None:
    assert get(dsn, "/v1/generations/gen_1").status == 401
    other = get(dsn, "/v1/generations/gen_1", TWO)
    assert (other.status, other.error()["code"]) == (404, "generation_not_found")
    assert get(dsn, "/v1/generations/none", OPERATOR).status == 404
    assert get(dsn, "/v1/generations/gen_2", OPERATOR).json()["prompt"] == '{"prompt": "x"}'
    assert get(dsn, "/v1/generations/gen_2", settings=ApiSettings()).status == 200


def test_the_operator_asks_about_all_tenants_or_one(dsn: str) -> None:
    def tenants(key: str, query: str = "") -> list[str]:
        answer = get(dsn, "/insight/usage", key, query=f"since=2025-12-01{query}")
        return sorted(row["key"] for row in answer.json()["rows"])

    assert tenants(OPERATOR) == ["one", "two"]
    assert tenants(OPERATOR, "&tenant=two") == ["two"]
    assert tenants(ONE, "&tenant=two") == ["one"]


def test_the_view_of_answers_has_the_prompt(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("select id, prompt from answers order by id").fetchall()
        assert rows == [("gen_1", ASKED), ("gen_2", '{"prompt": "x"}')]
        conn.execute("delete from vocabularies")
        assert conn.execute("select prompt from answers where id = 'gen_1'").fetchone() == (None,)
