"""What a tenant is told does not depend on what there is of another, whatever is asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from typing import Any

import psycopg
from tests.insight.test_endpoint import get
from tests.meter.test_ledger import PRICE, add
from tests.record.rows import START, make_feedback, make_generation
from tests.record.test_window import ask

from liveweights.insight.catalogue import QUESTIONS
from liveweights.insight.questions import standing
from liveweights.insight.window import make_window
from liveweights.meter.ledger import Ledger
from liveweights.meter.prices import EPOCH
from liveweights.record.engine_metrics import Sample, keep_sample
from liveweights.record.response import StoredResponse
from liveweights.record.responses import ResponseStore
from liveweights.record.writer import Writer
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import open_pool
from liveweights.store.partitions import ensure

ONE, TWO, OPERATOR = "key-of-one-012345", "key-of-two-012345", "operator-0123456789"
KEYS = ApiSettings(keys={ONE: "one", TWO: "two"}, operator_key=OPERATOR)
BASE = "base@000000000000"
WHEN = {"since": START.isoformat(), "until": (START + timedelta(days=2)).isoformat()}
ALL = {(name, by) for name, one in QUESTIONS.items() for by in (one.keys if one.by else (None,))}


async def fill(dsn: str, tenant: str) -> None:
    """Something of a tenant that every question is about."""
    pool = await open_pool(dsn)
    at, checkpoint = START + timedelta(hours=1), f"{tenant}@000000000000"
    made = {"checkpoint": checkpoint, "tenant": tenant, "user": f"user-{tenant}", "created_at": at}
    call = {"type": "mcp_call", "name": f"tool-{tenant}", "arguments": "{}", "status": "failed"}
    body = {"model": "live", "checkpoint": checkpoint, "episode": "e", "output": [call, call]}
    async with Writer(pool, charge=Ledger()) as writer:
        await writer.add_generation(make_generation(f"g-{tenant}", surface=tenant, **made))
        chat = make_generation(f"c-{tenant}", endpoint="chat", output="I cannot.", **made)
        await writer.add_generation(chat)
        said = {"signal": "rejected", "tenant": tenant}
        await writer.add_feedback(make_feedback(f"f-{tenant}", f"g-{tenant}", **said))
    of: Any = {"id": f"r-{tenant}", "tenant": tenant, "user": None, "previous": None}
    await ResponseStore(pool).add(StoredResponse(**of, created_at=at, input=[], body=body))
    async with pool.connection() as conn:
        await ensure(conn, [at.date()])
        busy: Any = {"slots": 4, "running": 1, "waiting": 0}
        await keep_sample(
            conn, Sample(at=at, instance=f"{tenant}:1", in_use={checkpoint: 1}, **busy)
        )
        await branch(conn, f"live:{tenant}", checkpoint, tenant)
    await pool.close()


async def branch(conn: Any, alias: str, checkpoint: str, tenant: str | None) -> None:
    await conn.execute(
        "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
        (checkpoint,),
    )
    await conn.execute(
        "insert into aliases (name, live, model, tenant) values (%s, %s, %s, %s)",
        (alias, checkpoint, "live" if tenant else None, tenant),
    )
    await conn.execute(
        "insert into releases (alias, action, checkpoint, reason, at)"
        " values (%s, 'create', %s, 'why', %s)",
        (alias, checkpoint, START + timedelta(hours=1)),
    )


async def open_service(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await branch(conn, "live", BASE, None)


def ask_all(dsn: str, key: str, **more: str) -> dict[tuple[str, str | None], list[Any]]:
    found: dict[tuple[str, str | None], list[Any]] = {}
    for name, by in ALL:
        query = {**WHEN, **more, **({"by": by} if by else {})}
        answer = get(dsn, f"/insight/{name}", KEYS, key, **query)
        assert answer.status == 200, answer.body
        found[name, by] = answer.json()["rows"]
    return found


def test_no_question_tells_a_tenant_of_another(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    asyncio.run(open_service(database_dsn))
    asyncio.run(fill(database_dsn, "one"))
    alone, operator = ask_all(database_dsn, ONE), ask_all(database_dsn, OPERATOR)
    asyncio.run(fill(database_dsn, "two"))
    assert ask_all(database_dsn, ONE) == alone
    # Not by asking for the other either.
    assert ask_all(database_dsn, ONE, tenant="two") == alone
    # It is there to be told: the operator, who sees all, and the other tenant are told of it.
    beside, own = ask_all(database_dsn, OPERATOR), ask_all(database_dsn, TWO)
    assert {asked for asked in ALL if beside[asked] == operator[asked]} == set()
    assert {name for (name, _), rows in own.items() if not rows} == {"load"}
    assert "two" in str(own)
    assert "'one" not in str(own)


def test_a_tenant_is_shown_the_changes_of_its_own_branch(database_dsn: str) -> None:
    asyncio.run(open_service(database_dsn))
    for tenant in ("one", "two"):
        asyncio.run(fill(database_dsn, tenant))
    branches = ["live:one", "live:two"]
    for key, told in ((ONE, branches[:1]), (TWO, branches[1:]), (OPERATOR, branches)):
        rows = get(database_dsn, "/insight/swaps", KEYS, key, **WHEN).json()["rows"]
        assert [row["alias"] for row in rows] == ["live", *told]
    other = get(database_dsn, "/insight/swaps", KEYS, ONE, alias="live:two", **WHEN)
    assert other.json()["rows"] == []


def test_how_models_stand_is_not_told_of_one_tenant(database_dsn: str) -> None:
    asyncio.run(open_service(database_dsn))
    asyncio.run(fill(database_dsn, "two"))
    window = make_window(WHEN["since"], WHEN["until"])
    alone = replace(window, tenant="one")
    assert ask(database_dsn, lambda conn: standing(conn, window))
    assert ask(database_dsn, lambda conn: standing(conn, alone)) == []


def test_every_question_asks_for_the_tenant() -> None:
    """But those that are asked for no tenant alone, or of nobody's answers."""
    folder = files("liveweights.insight.questions")
    questions = [one for one in folder.iterdir() if one.name.endswith(".sql")]
    without = {one.name for one in questions if "%(tenant)s" not in one.read_text()}
    assert without == {"load.sql", "standing.sql"}
