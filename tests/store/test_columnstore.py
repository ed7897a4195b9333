"""What becomes of generations where timescaledb's full edition is there, and where it is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

from tests.record.rows import make_generation
from tests.record.test_rollups import timed_id
from tests.timescale.database import (
    ask_alone,
    forget_database,
    make_database,
    needs_timescale,
    stored,
)

from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.store.columnstore import close_days, has_columnstore
from liveweights.store.database import Connection, open_pool
from liveweights.store.migrate import migrate, packaged
from liveweights.store.partitions import days, ensure
from liveweights.store.tiers import detect
from liveweights.store.upkeep import keep_up

FIRST = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = 1500


async def write(conn: Connection, count: int, *days_after: int) -> None:
    """``count`` answers on each day, and one whose id does not say when."""
    rows = [encode(make_generation(f"g{days_after[0]}"))]
    for day in days_after:
        at = FIRST + timedelta(days=day)
        for n in range(count):
            moment = at + timedelta(seconds=50 * n)
            id = timed_id(moment, n)
            rows.append(encode(make_generation(id, created_at=moment, output=f"x = {n}" * 9)))
    await ensure(conn, {row.day for row in rows})
    columnstore = await prepare(conn)
    await conn.commit()
    await store(conn, rows, [], columnstore=columnstore)
    await conn.commit()


def test_plain_postgres_has_none(database_dsn: str) -> None:
    async def look(conn: Connection) -> tuple[bool, int]:
        return await has_columnstore(conn), await close_days(conn, date(2100, 1, 1))

    assert ask_alone(database_dsn, look) == (False, 0)


@needs_timescale
def test_days_become_columns_when_they_are_over(timescale_dsn: str) -> None:
    first = FIRST.date()

    async def go(conn: Connection) -> list[int]:
        await write(conn, 20, 0, 1, 2)
        closed = [await close_days(conn, first + timedelta(days=n)) for n in (0, 2, 2)]
        await write(conn, 20, 3)
        return closed

    assert ask_alone(timescale_dsn, go) == [0, 2, 0]
    assert ask_alone(timescale_dsn, stored) == [
        (date(1970, 1, 1), False),
        *((first + timedelta(days=n), n < 2) for n in range(4)),
    ]
    assert ask_alone(timescale_dsn, days) == [first + timedelta(days=n) for n in range(4)]


@needs_timescale
def test_upkeep_closes_them(timescale_dsn: str) -> None:
    ask_alone(timescale_dsn, lambda conn: write(conn, 20, 0, 1))

    async def main() -> None:
        pool = await open_pool(timescale_dsn, max_size=1)
        task = asyncio.create_task(keep_up(pool, metric_days=7))
        try:
            while len(found) < 2:
                await asyncio.sleep(0.2)
                async with pool.connection() as conn:
                    found[:] = [day for day, columns in await stored(conn) if columns]
        finally:
            task.cancel()
            await pool.close()

    found: list[date] = []
    asyncio.run(main())
    assert found == [FIRST.date(), FIRST.date() + timedelta(days=1)]


@needs_timescale
def test_the_tier_is_named_and_lacks_nothing_of_it(timescale_dsn: str) -> None:
    found = ask_alone(timescale_dsn, lambda conn: detect(conn, embedded=False))
    assert found.kind == "timescale"
    assert not [sentence for sentence in found.lacks if "timescaledb" in sentence]


@needs_timescale
def test_a_database_with_answers_keeps_its_partitions(timescale_dsn: str) -> None:
    before = [one for one in packaged() if not one.name.startswith("0016")]
    forget_database()
    dsn = make_database(before)
    ask_alone(dsn, lambda conn: write(conn, 3, 0))
    assert migrate(dsn) == [one.name for one in packaged()[len(before) :]]
    found = ask_alone(dsn, lambda conn: detect(conn, embedded=False))
    assert found.kind == "postgres"
    assert [sentence for sentence in found.lacks if "fresh database" in sentence]
    assert ask_alone(dsn, lambda conn: close_days(conn, date(2100, 1, 1))) == 0


@needs_timescale
def test_a_closed_day_is_smaller_and_a_lookup_by_id_reads_a_part_of_it(timescale_dsn: str) -> None:
    async def go(conn: Connection) -> tuple[int, int, str]:
        await write(conn, ROWS, 0, 1)
        await close_days(conn, FIRST.date() + timedelta(days=1))
        cursor = await conn.execute(
            "select before_compression_total_bytes, after_compression_total_bytes"
            " from chunk_columnstore_stats('generations') where compression_status = 'Compressed'"
        )
        ((before, after),) = await cursor.fetchall()
        id = timed_id(FIRST, 0)
        cursor = await conn.execute(
            "explain (analyze, timing off) select * from generations where day = %s and id = %s",
            (FIRST.date(), id),
        )
        return before, after, "\n".join(line for (line,) in await cursor.fetchall())

    before, after, plan = ask_alone(timescale_dsn, go)
    assert after < before / 2
    # One batch of up to a thousand rows, by the index on their smallest and largest ids.
    assert plan.count("ColumnarScan") == 1
    assert "_ts_meta_min_1" in plan
    assert "Seq Scan on _hyper" not in plan
