"""What a generation costs is booked in the transaction that stores it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from liveweights.record.binary import Row
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool

from .rows import make_generation


class Ledger:
    """Books each generation's tokens; the database goes away ``away`` times after it has."""

    def __init__(self, away: int = 0) -> None:
        self.away = away

    async def charge(self, conn: Connection, rows: Sequence[Row], *, again: bool) -> list[int]:
        costs = [row.counts.prompt + row.counts.output for row in rows]
        async with conn.cursor() as cursor:
            await cursor.executemany(
                "insert into own_ledger values (%s, %s)",
                [(row.id, cost) for row, cost in zip(rows, costs, strict=True)],
            )
        if self.away:
            self.away -= 1
            raise psycopg.OperationalError("the connection broke")
        return costs


def record(dsn: str, ledger: Ledger, *ids: str) -> None:
    async def main() -> None:
        pool = await open_pool(dsn)
        async with Writer(pool, linger=0, gather=0, charge=ledger.charge) as writer:
            for id in ids:
                await writer.add_generation(make_generation(id))
        await pool.close()

    asyncio.run(main())


def booked(dsn: str) -> list[tuple[str, int]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute("select id, tokens from own_ledger order by id").fetchall()


def stored(dsn: str) -> list[tuple[str, int]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute("select id, cost_nanos from generations order by id").fetchall()


def make_ledger(dsn: str, *, limit: str = "true") -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(f"create table own_ledger (id text, tokens int check ({limit}))".encode())


def test_each_generation_is_booked_once_however_often_it_is_tried(database_dsn: str) -> None:
    make_ledger(database_dsn)
    record(database_dsn, Ledger(away=2), "a", "b")
    tokens = len(make_generation("a").prompt_ids) + len(make_generation("a").output_ids)
    assert booked(database_dsn) == [("a", tokens), ("b", tokens)]
    assert stored(database_dsn) == [("a", tokens), ("b", tokens)]
    record(database_dsn, Ledger(), "b", "c")  # another writer, with one that is there already
    assert [id for id, _ in booked(database_dsn)] == ["a", "b", "c"]


def test_what_cannot_be_booked_is_not_stored(database_dsn: str) -> None:
    make_ledger(database_dsn, limit="tokens < 0")
    record(database_dsn, Ledger(), "a")
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select count(*) from generations").fetchone() == (0,)
        assert conn.execute("select count(*) from quarantine").fetchone() == (1,)
    assert booked(database_dsn) == []
