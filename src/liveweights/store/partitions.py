"""Daily partitions: which one an id belongs to, and having them before they are needed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from psycopg import sql

from liveweights.store.columnstore import has_columnstore
from liveweights.store.database import Connection

TABLES = ("generations", "feedback")
"""The tables whose rows are kept by the day of a generation. Feedback has one partition per day;
generations have too, or chunks where they are a hypertable."""

UNDATED = date(1970, 1, 1)
"""The day of ids that do not say when they were made."""

_TIMED = re.compile(r"_(0[0-9a-f]{11})7[0-9a-f]{19}\Z")
_DAY_MS = 86_400_000


def day_of(id: str) -> date:
    """The UTC day in a version 7 UUID at the end of ``id``, else ``UNDATED``.

    The database has the same function as ``generation_day``.
    """
    match = _TIMED.search(id)
    if match is None:
        return UNDATED
    return _day(int(match[1], 16) // _DAY_MS)


@lru_cache(maxsize=64)
def _day(number: int) -> date:
    return UNDATED + timedelta(days=number)


def partition(table: str, day: date) -> str:
    """The name of the partition, where the table has them."""
    return f"{table}_{day:%Y%m%d}"


async def ensure(conn: Connection, days: Iterable[date]) -> int:
    """Make the partitions of ``days`` that are missing, each in a moment; how many were made."""
    made = 0
    for day in sorted(set(days) - {UNDATED}):
        cursor = await conn.execute("select ensure_partitions(%s, %s)", (day, day))
        row = await cursor.fetchone()
        assert row is not None
        made += row[0]
    return made


async def ensure_ahead(conn: Connection, days: int = 7) -> int:
    """Make the partitions from today to ``days`` days ahead; how many were made."""
    today = datetime.now(UTC).date()
    cursor = await conn.execute(
        "select ensure_partitions(%s, %s)", (today, today + timedelta(days=days))
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def days(conn: Connection, table: str = "feedback") -> list[date]:
    """The days for which ``table`` has a partition, oldest first."""
    cursor = await conn.execute(
        "select to_date(right(relname, 8), 'YYYYMMDD') from pg_inherits"
        " join pg_class on pg_class.oid = inhrelid"
        " where inhparent = %s::regclass and relname ~ '_\\d{8}$' order by 1",
        (table,),
    )
    return [day for (day,) in await cursor.fetchall()]


async def last_day(conn: Connection) -> date | None:
    dates = await days(conn)
    return dates[-1] if dates else None


async def drop(conn: Connection, day: date) -> None:
    """Drop the rows of ``day`` from all ``TABLES`` with what holds them, in the caller's
    transaction."""
    hypertable = await has_columnstore(conn)
    if hypertable:
        await conn.execute(
            "select drop_chunks('generations', newer_than => %s, older_than => %s)",
            (day, day + timedelta(days=1)),
        )
    for table in TABLES[1:] if hypertable else TABLES:
        await conn.execute(sql.SQL("drop table {}").format(sql.Identifier(partition(table, day))))


async def drop_before(conn: Connection, table: str, day: date) -> int:
    """Drop the partitions of ``table`` for days before ``day``, in the caller's transaction; how
    many there were. Raises psycopg.errors.LockNotAvailable where they are in use for long."""
    names = [partition(table, one) for one in await days(conn, table) if one < day]
    if names:
        await conn.execute("set local lock_timeout = '500ms'")
        await conn.execute(
            sql.SQL("drop table {}").format(sql.SQL(", ").join(map(sql.Identifier, names)))
        )
    return len(names)
