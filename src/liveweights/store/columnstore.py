"""Days as columns: what timescaledb's full edition makes of generations when a day is over."""

from __future__ import annotations

from datetime import date

from psycopg import sql

from liveweights.store.database import Connection

LOCK = 7_301_120_004
"""Key of the advisory lock: one process at a time closes days."""

# Not converted yet, or with rows that came or changed since; frozen ones stay as they are. Ids
# without a time, whose day is the first, may come at any time.
OPEN = """
select format('%%I.%%I', c.schema_name, c.table_name)
from timescaledb_information.chunks k
join _timescaledb_catalog.chunk c
    on c.schema_name = k.chunk_schema and c.table_name = k.chunk_name
where k.hypertable_name = 'generations' and k.hypertable_schema = (
        select relnamespace::regnamespace::text from pg_class where oid = 'generations'::regclass)
    and (k.range_end at time zone 'UTC')::date <= %(day)s
    and k.range_start > 'epoch'
    and c.status <> 1 and c.status & 4 = 0
order by k.range_start
"""


async def has_columnstore(conn: Connection) -> bool:
    """Whether closed days of generations become columnstore here; it stays so for a database.

    Rows of it cannot be locked one by one: see `liveweights.record.holds`.
    """
    cursor = await conn.execute(
        "select relkind = 'r' from pg_class where oid = 'generations'::regclass"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def lift_limit(conn: Connection) -> None:
    """For the rest of the session, let a transaction change any number of rows of columnstore."""
    await conn.execute("set timescaledb.max_tuples_decompressed_per_dml_transaction = 0")


async def close_days(conn: Connection, day: date) -> int:
    """Turn days before ``day`` into columnstore, those anew that have changed since; how many.

    Does nothing where there is none, or while another process does it. ``conn`` is outside any
    transaction; each day is one. Meanwhile nobody writes rows of the day,
    and at its end nobody reads them for a moment. Raises psycopg.errors.LockNotAvailable where a
    day is in use for long.
    """
    if not await has_columnstore(conn):
        return 0
    cursor = await conn.execute(OPEN, {"day": day})
    chunks = [chunk for (chunk,) in await cursor.fetchall()]
    await conn.commit()
    closed = 0
    for chunk in chunks:
        async with conn.transaction():
            cursor = await conn.execute("select pg_try_advisory_xact_lock(%s)", (LOCK,))
            if await cursor.fetchone() == (False,):
                break
            await conn.execute("set local lock_timeout = '5s'")
            await conn.execute(
                sql.SQL("call convert_to_columnstore({}::regclass)").format(sql.Literal(chunk))
            )
        closed += 1
    return closed
