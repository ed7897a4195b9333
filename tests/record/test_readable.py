"""A tenant's cycle reads that tenant's rows alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.record.rows import make_feedback, make_generation

from liveweights.record import followups, window
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.record.feedback import Feedback
from liveweights.record.followups import count_follow_ups, read_follow_ups
from liveweights.record.generation import Generation
from liveweights.record.read import count_judged, find_reacting, first_answered
from liveweights.record.readable import TENANT, read_readable
from liveweights.store.database import Connection

TENANTS = ("acme", "bolt", "cord")
BASE, SHARED = "base@000000000000", "code@00000000aaaa"
OWN = {tenant: f"code@{number:012d}" for number, tenant in enumerate(TENANTS, 1)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "tenant": st.sampled_from(TENANTS),
            "alias": st.sampled_from(("code", "code", "code", "other", "teacher")),
            "checkpoint": st.sampled_from((BASE, SHARED, "own", "another's")),
            "endpoint": st.sampled_from(("completion", "chat")),
            "session": st.sampled_from((None, "s1", "s2")),
            "user": st.sampled_from((None, "ada", "bob")),
            "consent": st.sampled_from((True, True, True, False)),
            "output": st.sampled_from(("x = 1", "x = 1", "")),
            "signal": st.sampled_from((None, "shown", "accepted", "rejected")),
        }
    ),
    min_size=1,
    max_size=30,
)


def make_rows(rows: list[Row]) -> tuple[list[Generation], list[Feedback]]:
    generations: list[Generation] = []
    said: list[Feedback] = []
    for number, row in enumerate(rows):
        values, tenant = dict(row), row["tenant"]
        signal = values.pop("signal")
        other = TENANTS[(TENANTS.index(tenant) + 1) % len(TENANTS)]
        values["checkpoint"] = {"own": OWN[tenant], "another's": OWN[other]}.get(
            values["checkpoint"], values["checkpoint"]
        )
        made = make_generation(f"g-{number}", **values)
        generations.append(made)
        if signal:
            said.append(make_feedback(f"f-{number}", made.id, signal=signal, tenant=tenant))
    return generations, said


async def fill(conn: Connection, generations: list[Generation], said: list[Feedback]) -> None:
    await prepare(conn)
    await conn.execute(
        "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/nowhere', '{}')",
        (BASE,),
    )
    for id, card in ((SHARED, "{}"), *((OWN[t], f'{{"tenant": "{t}"}}') for t in TENANTS)):
        await conn.execute(
            "insert into checkpoints (id, kind, folder, base, parent, card)"
            " values (%s, 'adapter', '/nowhere', %s, %s, %s)",
            (id, BASE, BASE, card),
        )
    await conn.execute("insert into aliases (name, live) values ('code', %s)", (SHARED,))
    for tenant in TENANTS:
        await conn.execute(
            "insert into aliases (name, live, model, tenant) values (%s, %s, 'code', %s)",
            (f"code:{tenant}", SHARED, tenant),
        )
    await store(conn, [encode(one) for one in generations], said)


async def begin(conn: Connection, alias: str) -> int:
    cursor = await conn.execute(
        "insert into cycles (alias, tenant, state, incumbent, settings)"
        " select alias, tenant, 'claiming', live, '{}' from standing where alias = %s returning id",
        (alias,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def claim(conn: Connection, alias: str) -> tuple[int, set[str]]:
    cycle = await begin(conn, alias)
    await window.claim(
        conn,
        cycle,
        alias,
        held_back_share=0.4,
        max_rows=1000,
        max_held_back=1000,
        teacher="teacher",
    )
    cursor = await conn.execute("select generation from cycle_rows where cycle = %s", (cycle,))
    return cycle, {id for (id,) in await cursor.fetchall()}


def judged(generation: Generation, said: list[Feedback], tenant: str) -> bool:
    """What a tenant's cycle has to read at least."""
    return (
        (generation.tenant, generation.alias) == (tenant, "code")
        and generation.consent
        and generation.checkpoint in (BASE, SHARED, OWN[tenant])
        and any(one.generation == generation.id and one.signal != "shown" for one in said)
    )


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ROWS)
def test_no_row_of_another_tenant_is_read(database_dsn: str, rows: list[Row]) -> None:
    generations, said = make_rows(rows)
    by_id = {generation.id: generation for generation in generations}

    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await fill(conn, generations, said)
            for tenant in TENANTS:
                alias = f"code:{tenant}"
                cycle, claimed = await claim(conn, alias)
                assert {one.id for one in generations if judged(one, said, tenant)} <= claimed
                read = [
                    *await window.read(conn, cycle, "train"),
                    *await window.read(conn, cycle, "held_back"),
                    *await window.read_held_back(conn, alias, cycle, cycles=9, most=99),
                    *await window.read_unjudged(conn, alias, cycle, 99),
                ]
                seen = claimed | {one.generation.id for one in read}
                seen |= set(await read_follow_ups(conn, cycle))
                assert {by_id[id].tenant for id in seen} <= {tenant}
                others = [one for other, one in OWN.items() if other != tenant]
                theirs = {by_id[id].checkpoint for id in seen if by_id[id].alias == "code"}
                assert theirs.isdisjoint(others)
                assert {one.tenant for example in read for one in example.feedback} <= {tenant}
                known = await window.count_earlier(conn, cycle, alias, 9)
                assert {whose for whose, _ in known} <= {tenant}
            # What tenants learnt for themselves is unread for all others, but for their own's.
            _, shared = await claim(conn, "code")
            wanted = {
                one.id
                for one in generations
                if judged(one, said, one.tenant) and one.checkpoint in (BASE, SHARED)
            }
            assert wanted <= shared
            assert {by_id[id].checkpoint for id in shared}.isdisjoint(OWN.values()) or any(
                by_id[id].alias == "teacher" for id in shared
            )
            await conn.rollback()

    asyncio.run(go())


def test_counts_are_of_the_tenant_alone(database_dsn: str) -> None:
    rows = [
        {"tenant": tenant, "alias": "code", "checkpoint": SHARED, "endpoint": "chat", "user": "ada",
         "session": "s", "consent": True, "output": "x", "signal": "accepted"}
        for tenant in ("acme", "acme", "acme", "bolt")
    ]  # fmt: skip

    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await fill(conn, *make_rows(rows))
            counted: dict[str, tuple[int, int]] = {}
            for alias in ("code", "code:acme", "code:bolt", "code:cord"):
                readable = await read_readable(conn, alias)
                judged = await count_judged(conn, readable, EPOCH, most=9)
                followed = await count_follow_ups(conn, readable, EPOCH, most=9)
                counted[alias] = judged, followed
                has = (await first_answered(conn, readable)) is not None
                assert has == (alias != "code:cord")
            assert counted == {
                "code": (4, 2), "code:acme": (3, 2), "code:bolt": (1, 0), "code:cord": (0, 0),
            }  # fmt: skip

    asyncio.run(go())


@pytest.mark.parametrize("query", [window.CANDIDATES, window.UNJUDGED, followups.COUNT])
def test_every_part_of_every_query_that_chooses_rows_asks_for_the_tenant(query: str) -> None:
    parts = query.split("union all")
    assert len(parts) == query.count("from generations g") + query.count("join generations g")
    assert all(TENANT in part for part in parts)


def test_tenants_that_may_have_said_enough(database_dsn: str) -> None:
    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            assert await find_reacting(conn, "code", 1) == []

    asyncio.run(go())
