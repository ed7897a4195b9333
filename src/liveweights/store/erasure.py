"""Removed rows, out of the server's files too.

Postgres leaves a removed row's bytes where they were until something else is written there, in the
table, its indexes, its statistics and the write-ahead log. Rewriting a table leaves them behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from liveweights.store.database import Connection

LARGEST = 2**30
"""Bytes of a table that is rewritten: nobody reads or writes it meanwhile, for some seconds."""
TRIES = 5
STATISTICS = ("pg_catalog.pg_statistic", "pg_catalog.pg_statistic_ext_data")
"""Where a column's most frequent values are."""


async def erase(conn: Connection, tables: Sequence[str], *, largest: int = LARGEST) -> list[str]:
    """Rewrite those of the tables that exist, and end the write-ahead log that has their rows; for
    an embedded server, whose log is not recycled. Those that could not be rewritten, because they
    are too large or in use.

    ``conn`` is the superuser's, outside any transaction.
    """
    left: list[str] = []
    await conn.set_autocommit(True)
    try:
        for table in tables:
            cursor = await conn.execute("select pg_total_relation_size(to_regclass(%s))", (table,))
            row = await cursor.fetchone()
            assert row is not None
            if row[0] is None:
                continue
            if row[0] > largest or not await _rewrite(conn, table):
                left.append(table)
        for table in STATISTICS:
            if not await _rewrite(conn, table):
                left.append(table)
        await conn.execute("select pg_switch_wal()")
        await conn.execute("checkpoint")
    finally:
        await conn.set_autocommit(False)
    return left


async def _rewrite(conn: Connection, table: str) -> bool:
    """Whether it was. Writers wait behind it for two seconds at most, before it begins."""
    name = sql.SQL(".").join(map(sql.Identifier, table.split(".")))
    await conn.execute("set lock_timeout = '2s'")
    try:
        for _ in range(TRIES):
            try:
                await conn.execute(sql.SQL("vacuum (full, analyze) {}").format(name))
            except psycopg.errors.LockNotAvailable:
                continue
            return True
        return False
    finally:
        await conn.execute("reset lock_timeout")
