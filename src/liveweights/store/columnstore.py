"""Days as columns: what timescaledb's full edition makes of generations when a day is over."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many days are columns, and their bytes with all indexes, as rows and as columns."""

    days: int
    as_rows: int
    as_columns: int


async def read_sizes(conn: Connection) -> Sizes | None:
    """None where there is no columnstore."""
    if not await has_columnstore(conn):
        return None
    cursor = await conn.execute(
        "select coalesce(sum(number_compressed_chunks), 0)::int,"
        " coalesce(sum(before_compression_total_bytes), 0)::bigint,"
        " coalesce(sum(after_compression_total_bytes), 0)::bigint"
        " from hypertable_columnstore_stats('generations')"
    )
    row = await cursor.fetchone()
    assert row is not None
    return Sizes(*row)


async def lift_limit(conn: Connection) -> None:
    """For the rest of the session, let a transaction change any number of rows of columnstore."""
    await conn.execute("set timescaledb.max_tuples_decompressed_per_dml_transaction = 0")


async def close_days(conn: Connection, day: date) -> int:
    """Turn days before ``day`` into columnstore, those anew that have changed since; how many.

    Does nothing where there is none, or while another process does it. ``conn`` is outside any
    transaction; each day is one. Meanwhile rows of the day are read and not written, and at its
    end neither, for a moment. Raises psycopg.errors.LockNotAvailable where a day is in use for
    long.
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
            await conn.execute("set local lock_timeout = '1s'")
            await conn.execute(
                sql.SQL("call convert_to_columnstore({}::regclass)").format(sql.Literal(chunk))
            )
        closed += 1
    return closed
