"""One process at a time takes days out of Postgres, brings them back, or writes their files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg

from liveweights.record.archive_rows import ArchiveError
from liveweights.store.database import Connection

LOCK = 7_301_120_005
"""Key of the advisory lock."""
PATIENCE_MS = 60_000
"""How long the lock is waited for. Whoever waits gets it in turn, also from a process that takes
out one day after the other."""


@asynccontextmanager
async def locked(conn: Connection, patience_ms: int = PATIENCE_MS) -> AsyncGenerator[None]:
    """Nobody else works on days meanwhile. Whoever has the lock may take it again.

    ``conn`` is outside any transaction, and is so again at the end. The lock ends with the
    connection. Raises ArchiveError where another process keeps it.
    """
    await conn.commit()
    try:
        async with conn.transaction():
            await conn.execute("select set_config('lock_timeout', %s, true)", (f"{patience_ms}ms",))
            await conn.execute("select pg_advisory_lock(%s)", (LOCK,))
    except psycopg.errors.LockNotAvailable as error:
        raise ArchiveError(
            "another process archives or brings back days; try again later"
        ) from error
    try:
        yield
    finally:
        if not conn.closed:
            await conn.rollback()
            await conn.execute("select pg_advisory_unlock(%s)", (LOCK,))
            await conn.commit()
