"""A database on a server with TimescaleDB's full edition, of which tests use one connection at a
time: it may be one that has no more (see ``serve.js``)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.copy import AsyncCopy, AsyncWriter

from liveweights.store.database import Connection
from liveweights.store.migrate import Migration, migrate

DSN = os.environ.get("LIVEWEIGHTS_TIMESCALE_DSN", "")
SCHEMA = "liveweights_test"
FILE = "/tmp/copy"

needs_timescale = pytest.mark.skipif(
    not DSN,
    reason="needs TimescaleDB's full edition: run `make test-timescale`, or set "
    "LIVEWEIGHTS_TIMESCALE_DSN to a database where the schema liveweights_test may be replaced",
)

T = TypeVar("T")


class Gathered(AsyncWriter):
    """What would have been sent."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


class FileCursor(psycopg.AsyncCursor[Any]):
    """COPY by way of a file of the server, for one that cannot take the rows from its client."""

    @asynccontextmanager
    async def copy(self, statement: Any, *_: Any, **__: Any) -> AsyncIterator[AsyncCopy]:  # type: ignore[override]
        text = statement if isinstance(statement, bytes) else statement.as_bytes(self)
        gathered = Gathered()
        async with AsyncCopy(self, binary=b"binary" in text, writer=gathered) as copy:
            yield copy
        await self.execute("select lo_from_bytea(7, %s)", (bytes(gathered.data),))
        await self.execute(f"select lo_export(7, '{FILE}'), lo_unlink(7)".encode())
        await self.execute(text.replace(b"from stdin", f"from '{FILE}'".encode()))


def make_database(migrations: Sequence[Migration] | None = None) -> str:
    """The DSN of a migrated database without rows: the schema ``SCHEMA``, made anew."""
    forget_database()
    dsn = make_conninfo(DSN, options=f"-c search_path={SCHEMA},public")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
        # A server with one session for all its connections knows no options.
        conn.execute(sql.SQL("set search_path = {}, public").format(sql.Identifier(SCHEMA)))
    migrate(dsn, migrations)
    return dsn


def forget_database() -> None:
    with psycopg.connect(DSN, autocommit=True) as conn:
        # Such a server also keeps what a connection before it has left.
        for statement in ("rollback", "select pg_advisory_unlock_all()", "discard temp"):
            conn.execute(statement.encode())
        conn.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(SCHEMA)))


def ask_alone(dsn: str, question: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    """The answer over a connection of its own, which leaves nothing behind."""

    async def main() -> T:
        # Names of prepared statements would be left.
        async with await psycopg.AsyncConnection.connect(dsn, prepare_threshold=None) as conn:
            cursor = await conn.execute("select version()")
            if "emcc" in str(await cursor.fetchone()):
                conn.cursor_factory = FileCursor
            await conn.commit()
            try:
                return await question(conn)
            finally:
                await conn.rollback()
                await conn.execute("discard temp")
                await conn.commit()

    return asyncio.run(main())


async def stored(conn: Connection) -> list[tuple[date, bool]]:
    """The days that have a chunk, and which of them are columns."""
    cursor = await conn.execute(
        "select (range_start at time zone 'UTC')::date, is_compressed"
        " from timescaledb_information.chunks where hypertable_schema = current_schema order by 1"
    )
    return [(day, columns) for day, columns in await cursor.fetchall()]
