"""What the database needs now and then."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from psycopg import sql

from liveweights.store.columnstore import close_days
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import note_fault
from liveweights.store.partitions import TABLES, drop_before, ensure_ahead

log = logging.getLogger(__name__)

EVERY = 3600.0

# A tenth more or fewer rows in partitions than when the whole was looked at. Of a hypertable
# nobody notes how many there were.
STALE = """
select c.relname::text, c.relkind = 'p' from pg_class c
where c.oid = any(%s::regclass[]) and (
    c.relkind <> 'p' or c.reltuples < 0 or c.reltuples / 10 < abs(c.reltuples - (
        select coalesce(sum(greatest(part.reltuples, 0)), 0)
        from pg_inherits join pg_class part on part.oid = inhrelid where inhparent = c.oid
    ))
)
order by 1
"""


async def keep_up(pool: Pool, *, metric_days: int, every: float = EVERY) -> None:
    """For ever: partitions for the days ahead, none for samples of the load that are older than
    ``metric_days``, columnstore for days that have been over for a day, where there is one, and
    statistics of the partitioned tables."""
    while True:
        try:
            async with pool.connection() as conn:
                await ensure_ahead(conn)
                await conn.commit()
                await analyze(conn)
                today = datetime.now(UTC).date()
                await drop_before(conn, "engine_metrics", today - timedelta(days=metric_days))
                await conn.commit()
                await close_days(conn, today - timedelta(days=1))
        except Exception as error:
            # Whatever it was, the next time may find it mended.
            note_fault(log, error, "upkeep waits for the database")
        await asyncio.sleep(every)


async def analyze(conn: Connection) -> list[str]:
    """Gather statistics of the tables of ``TABLES`` that have changed since; their names.

    Postgres gathers those of partitions by itself, but not of the whole; without them, grouping by
    time sorts instead of hashing. ``conn`` is outside any transaction: each table is locked for as
    long as it takes alone, and left out where somebody else has it.
    """
    cursor = await conn.execute(STALE, (list(TABLES),))
    stale = await cursor.fetchall()
    await conn.commit()
    await conn.set_autocommit(True)
    try:
        for table, partitioned in stale:
            # Servers before 18 look at each partition, too.
            only = "only " if partitioned and conn.info.server_version >= 180_000 else ""
            name = sql.Identifier(table)
            await conn.execute(sql.SQL("analyze (skip_locked) {}{}").format(sql.SQL(only), name))
    finally:
        await conn.set_autocommit(False)
    return [table for table, _ in stale]
