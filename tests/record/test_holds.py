"""Feedback, claims and forgetting exclude each other, whether rows can be locked or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from liveweights.gate.calibration import Draft
from liveweights.gate.drafts import keep_drafts
from liveweights.record import rollups
from liveweights.record.batch import Fate, prepare, store
from liveweights.record.forget import forget
from liveweights.record.holds import BUCKETS
from liveweights.record.window import claim
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool

from .rows import make_feedback, make_generation
from .test_forget import counts
from .test_window import ask, record

Begin = Callable[[], int]
PLACES = ("record.batch", "record.forget", "record.holds")
LIMITS: dict[str, Any] = {"held_back_share": 0.0, "max_rows": 9, "max_held_back": 9}


@pytest.fixture(params=["rows", "columnstore"], autouse=True)
def columnstore(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test with locks of rows, and with those that a columnstore needs."""
    columns = request.param == "columnstore"

    async def has_columnstore(conn: Connection) -> bool:
        return columns

    for place in PLACES:
        monkeypatch.setattr(f"liveweights.{place}.has_columnstore", has_columnstore)
    return columns


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[Connection]:
    """A connection that gives up instead of waiting for another."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("set lock_timeout = '100ms'")
        await conn.commit()
        yield conn
        await conn.rollback()


async def give(conn: Connection, id: str, generation: str) -> list[Fate]:
    columnstore = await prepare(conn)
    await conn.commit()
    return await store(conn, [], [make_feedback(id, generation)], columnstore=columnstore)


async def waits(conn: Connection, action: Awaitable[Any]) -> bool:
    """Whether ``action`` would have to wait for another transaction."""
    try:
        await action
    except psycopg.errors.LockNotAvailable:
        return True
    finally:
        await conn.rollback()
    return False


def between(dsn: str, check: Callable[[Connection, Connection], Awaitable[None]]) -> None:
    async def main() -> None:
        async with connect(dsn) as one, connect(dsn) as other:
            await check(one, other)

    asyncio.run(main())
    assert ask(dsn, rollups.differences) == []


def test_who_is_forgotten_takes_feedback_on_its_way_along(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"))

    async def check(one: Connection, other: Connection) -> None:
        assert await give(one, "f", "a") == [Fate.NEW]
        assert await waits(other, forget(other, "default", "ada"))
        await one.commit()
        assert (await forget(other, "default", "ada")).feedback == 1

    between(database_dsn, check)
    assert counts(database_dsn) == [0, 0, 0]


def test_feedback_finds_no_generation_that_is_being_forgotten(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"))

    async def check(one: Connection, other: Connection) -> None:
        async with one.transaction():
            await forget(one, "default", "ada")
            assert await waits(other, give(other, "f", "a"))
        assert await give(other, "f", "a") == [Fate.UNKNOWN]
        await other.commit()

    between(database_dsn, check)
    assert counts(database_dsn) == [0, 0, 0]


def test_one_writer_at_a_time_adds_feedback_to_a_generation(database_dsn: str) -> None:
    record(database_dsn, make_generation("g"))

    async def check(one: Connection, other: Connection) -> None:
        assert await give(one, "f", "g") == [Fate.NEW]
        assert await waits(other, give(other, "f2", "g"))
        await one.commit()
        assert await give(other, "f2", "g") == [Fate.NEW]
        await other.commit()

    between(database_dsn, check)


def test_what_is_forgotten_is_not_claimed_and_the_reverse(
    database_dsn: str, begin_cycle: Begin
) -> None:
    record(database_dsn, make_generation("a"), make_feedback("f", "a"))
    cycle = begin_cycle()

    async def check(one: Connection, other: Connection) -> None:
        assert (await claim(one, cycle, "live", **LIMITS)).total == 1
        assert await waits(other, forget(other, "default", "ada"))
        await one.rollback()
        async with other.transaction():
            await forget(other, "default", "ada")
            assert await waits(one, claim(one, cycle, "live", **LIMITS))
        assert (await claim(one, cycle, "live", **LIMITS)).total == 0

    between(database_dsn, check)


def test_what_is_forgotten_is_not_replayed_and_the_reverse(
    database_dsn: str, begin_cycle: Begin
) -> None:
    record(database_dsn, make_generation("a"))
    cycle = begin_cycle()

    def keep(conn: Connection) -> Awaitable[None]:
        return keep_drafts(
            conn,
            cycle,
            checkpoint="base@000000000000",
            engine="torch",
            drafts={"a": Draft("x", -1.0)},
            asked={"a": "so"},
        )

    async def check(one: Connection, other: Connection) -> None:
        await keep(one)
        assert await waits(other, forget(other, "default", "ada"))
        await one.rollback()
        async with other.transaction():
            await forget(other, "default", "ada")
            assert await waits(one, keep(one))

    between(database_dsn, check)


def test_claims_and_feedback_do_not_wait_for_each_other(
    database_dsn: str, begin_cycle: Begin
) -> None:
    record(database_dsn, make_generation("a"), make_feedback("f", "a"))
    cycle = begin_cycle()

    async def check(one: Connection, other: Connection) -> None:
        await claim(one, cycle, "live", **LIMITS)
        assert await give(other, "g", "a") == [Fate.NEW]
        await other.commit()

    between(database_dsn, check)


def test_many_writers_count_every_feedback_once(database_dsn: str) -> None:
    """Also where their generations share buckets, and while users are forgotten."""
    ids = [f"g{n}" for n in range(60)]
    record(database_dsn, *(make_generation(id, user=f"u{n % 6}") for n, id in enumerate(ids)))

    async def main() -> None:
        pool = await open_pool(database_dsn)
        async with Writer(pool, batch_rows=25) as a, Writer(pool, batch_rows=25) as b:
            sending = [
                w.add_feedback(
                    make_feedback(f"{id}.{k}", id, signal=("accepted", "rejected")[k % 2])
                )
                for k, w in enumerate((a, b, b, a))
                for id in ids[:: (1, -1)[k % 2]]
            ]

            async def remove() -> None:
                async with pool.connection() as conn:
                    for n in range(3):
                        await forget(conn, "default", f"u{n}")

            await asyncio.gather(remove(), *sending, return_exceptions=True)
        await pool.close()

    asyncio.run(main())
    assert counts(database_dsn)[:2] == [30, 120]
    assert ask(database_dsn, rollups.differences) == []


def test_the_locks_of_one_writer_fit_into_the_server(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        row = conn.execute(
            "select current_setting('max_locks_per_transaction')::int"
            " * current_setting('max_connections')::int"
        ).fetchone()
    assert row is not None
    assert row[0] > 2 * BUCKETS
