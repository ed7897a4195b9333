"""What a cycle claimed stays provable after its rows are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg

from liveweights.bom.merkle import hash_reaction
from liveweights.record import forget, window

from .rows import make_feedback, make_generation
from .test_window import claim, record

Begin = Callable[[], int]


def read_seal(dsn: str, cycle: int) -> tuple[int, int, list[bytes]]:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            "select trained, held_back, leaves from sealed where cycle = %s", (cycle,)
        ).fetchone()
    assert row is not None
    return row


def test_a_claim_seals_a_hash_of_every_reaction(database_dsn: str, begin_cycle: Begin) -> None:
    record(
        database_dsn,
        make_generation("g1", tenant="acme"),
        make_generation("g2", tenant="acme", user="bob"),
        make_generation("g3", tenant="acme", consent=False),
        make_feedback("f1", "g1", tenant="acme"),
        make_feedback("f2", "g1", tenant="acme"),
        make_feedback("ß\x1f", "g2", tenant="acme"),
        make_feedback("f4", "g3", tenant="acme"),
    )
    cycle = begin_cycle()
    assert claim(database_dsn, cycle).total == 2
    reactions = [("acme", "g1", "f1"), ("acme", "g1", "f2"), ("acme", "g2", "ß\x1f")]
    leaves = sorted(hash_reaction(*one) for one in reactions)
    sealed = read_seal(database_dsn, cycle)
    assert sealed == (2, 0, leaves)
    claim(database_dsn, cycle)  # resumed
    assert read_seal(database_dsn, cycle) == sealed


def test_a_claim_of_nothing_may_be_made_again(database_dsn: str, begin_cycle: Begin) -> None:
    cycle = begin_cycle()
    assert claim(database_dsn, cycle).total == 0
    assert read_seal(database_dsn, cycle) == (0, 0, [])
    record(database_dsn, make_generation("g1"), make_feedback("f1", "g1"))
    assert claim(database_dsn, cycle).total == 1
    assert read_seal(database_dsn, cycle) == (1, 0, [hash_reaction("default", "g1", "f1")])


def test_a_seal_stays_when_a_user_is_forgotten(database_dsn: str, begin_cycle: Begin) -> None:
    record(database_dsn, make_generation("g1"), make_feedback("f1", "g1"))
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    sealed = read_seal(database_dsn, cycle)

    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await forget.forget(conn, "default", "ada")
            await conn.commit()
            assert (await window.count(conn, cycle)).total == 0

    asyncio.run(go())
    assert read_seal(database_dsn, cycle) == sealed
