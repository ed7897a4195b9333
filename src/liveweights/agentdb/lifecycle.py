"""Steps between a database's states: each may die anywhere and be done again.

The row says what should be; the steps make Postgres agree. What a step has begun, and nobody is
doing any more, the minder finishes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from psycopg import sql

from liveweights.agentdb import roles
from liveweights.agentdb.rows import Database, Level, State, read
from liveweights.store.database import Connection

LOCKS = 730_112
"""First half of the advisory locks' keys; the second is the hash of a database's id."""


@asynccontextmanager
async def locked(
    conn: Connection, identifier: str, *, shared: bool = False
) -> AsyncGenerator[None]:
    """Nobody else works on the database meanwhile. The lock ends with the process that holds it."""
    kind = "_shared" if shared else ""
    await conn.execute(
        f"select pg_advisory_lock{kind}(%s, hashtext(%s))".encode(), (LOCKS, identifier)
    )
    try:
        yield
    finally:
        if not conn.broken:
            await conn.execute(
                f"select pg_advisory_unlock{kind}(%s, hashtext(%s))".encode(), (LOCKS, identifier)
            )


@asynccontextmanager
async def locked_if_free(conn: Connection, identifier: str) -> AsyncGenerator[bool]:
    """Like ``locked``, without waiting; gives whether the lock was free."""
    key = (LOCKS, identifier)
    cursor = await conn.execute("select pg_try_advisory_lock(%s, hashtext(%s))", key)
    row = await cursor.fetchone()
    free = row is not None and bool(row[0])
    try:
        yield free
    finally:
        if free and not conn.broken:
            await conn.execute("select pg_advisory_unlock(%s, hashtext(%s))", key)


async def change(
    conn: Connection,
    database: Database,
    *,
    state: State | None = None,
    level: Level | None = None,
    reason: str | None = None,
    used: bool = False,
) -> Database:
    """Give a database another state or level, and end the sessions whose rights that changes."""
    wanted = replace(
        database,
        state=state or database.state,
        level=level or database.level,
        reason=database.reason if reason is None else reason,
    )
    if not wanted.admits or wanted.level is not database.level:
        # Before all else: a session that keeps changing its own role could make the rest fail.
        await roles.close(conn, database.id)
    async with conn.transaction():
        cursor = await conn.execute(
            "update databases set state = %s, level = %s, reason = %s,"
            " used_at = case when %s then clock_timestamp() else used_at end"
            " where id = %s returning used_at",
            (wanted.state, wanted.level, wanted.reason, used, database.id),
        )
        row = await cursor.fetchone()
        assert row is not None
        await roles.settle(conn, wanted)
    if wanted.admits and wanted.level is not database.level:
        await roles.terminate(conn, database.id)
    used_at: datetime = row[0]
    return replace(wanted, used_at=used_at)


async def remove(conn: Connection, identifier: str) -> None:
    """Delete a database with its roles and its row. Harmless if it is gone already."""
    name = sql.Identifier(identifier)
    await conn.execute("update databases set state = 'deleting' where id = %s", (identifier,))
    cursor = await conn.execute("select 1 from pg_database where datname = %s", (identifier,))
    if await cursor.fetchone():
        await conn.execute(
            sql.SQL("alter database {} is_template false allow_connections false").format(name)
        )
        await conn.execute(sql.SQL("drop database if exists {} with (force)").format(name))
    await roles.drop(conn, identifier)
    await conn.execute("delete from databases where id = %s", (identifier,))


async def reread(conn: Connection, identifier: str) -> Database | None:
    """The row as it is now, for whoever has just got the lock."""
    rows = await read(conn, "id = %s", identifier)
    return rows[0] if rows else None
