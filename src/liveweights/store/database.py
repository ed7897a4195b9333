"""Connections to Postgres."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Connection = AsyncConnection[TupleRow]
Also: TypeAlias = Callable[[Connection], Awaitable[None]]
"""What is done besides, in the same transaction."""


class Pool(AsyncConnectionPool[Connection]):
    """Connections that tasks take in turn; a task that is told to end meanwhile does."""

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncGenerator[Connection]:
        """One of them for a while, in a transaction. Raises psycopg_pool.PoolTimeout."""
        with heeding():
            async with super().connection(timeout) as conn:
                yield conn

    async def getconn(self, timeout: float | None = None) -> Connection:
        """One of them until ``putconn``. Raises psycopg_pool.PoolTimeout."""
        with heeding() as heed:
            conn = await super().getconn(timeout)
            try:
                heed()
            except asyncio.CancelledError:
                await self.putconn(conn)
                raise
            return conn


@contextmanager
def heeding() -> Generator[Callable[[], None]]:
    """Around what talks to a database: a cancellation of this task leaves it as one.

    psycopg ends what the server is at before it hands a cancellation on, and where that fails, as
    when the server goes away just then, there is an error in its place. Its pool waits with
    ``asyncio.wait_for``, which before Python 3.12 drops a cancellation that arrives together with
    what is waited for: call what this yields after that. A loop that goes on after errors would
    never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0

    def heed() -> None:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError

    try:
        yield heed
    except Exception as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise


class BadAddress(ValueError):
    """A database's address cannot be read. What it says is not repeated: it may hold a password."""


def check_dsn(dsn: str) -> None:
    """Raise BadAddress for what is no connection string of Postgres."""
    _read_dsn(dsn)


def complete_dsn(dsn: str) -> str:
    """The connection string with all that libpq would add to it from the environment of this
    process (``PGPASSWORD`` and its like). Raises BadAddress."""
    given = _read_dsn(dsn)
    added = {
        option.keyword.decode(): os.environ[option.envvar.decode()]
        for option in Conninfo.get_defaults()
        if option.envvar is not None and option.envvar.decode() in os.environ
    }
    return make_conninfo("", **{**added, **given})


def _read_dsn(dsn: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(dsn)
    except psycopg.Error:
        raise BadAddress(
            "The database's address is none of Postgres: say postgresql://USER@HOST/NAME, or"
            " host=HOST user=USER dbname=NAME."
        ) from None


async def open_pool(
    dsn: str, *, min_size: int = 1, max_size: int = 8, timeout: float = 30.0
) -> Pool:
    """An open pool that has reached the server once; close it with ``await pool.close()``.

    Connections are tried before they are lent, so that a restarted server costs a reconnect and
    not an error. Raises psycopg_pool.PoolTimeout when the server cannot be reached within
    ``timeout`` seconds.
    """
    pool = Pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        open=False,
        check=Pool.check_connection,
        # The pool doubles the pause between its attempts to reconnect. Giving up early lets the
        # next request try at once, instead of a minute after the server is back.
        timeout=10.0,
        reconnect_timeout=4.0,
        kwargs={"application_name": "liveweights"},
    )
    try:
        await pool.open(wait=True, timeout=timeout)
    except BaseException:
        await pool.close()
        raise
    return pool


async def connect_like(pool: Pool) -> Connection:
    """A connection to the pool's database that is not the pool's; ``autocommit`` is on."""
    if callable(pool.conninfo) or callable(pool.kwargs):
        raise TypeError("the pool was not made by open_pool")
    options: dict[str, Any] = {"connect_timeout": 5, **(pool.kwargs or {}), "autocommit": True}
    return await AsyncConnection.connect(pool.conninfo, **options)


async def listen(dsn: str, channel: str) -> AsyncIterator[str]:
    """The payloads of ``NOTIFY channel``, for ever.

    Yields an empty string whenever it has (re)connected: what was notified in between is lost,
    so look at the tables again. Retries for as long as the server is away.
    """
    pause = 0.05
    while True:
        try:
            with heeding():
                async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
                    await conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                    pause = 0.05
                    yield ""
                    async for notification in conn.notifies():
                        yield notification.payload
        except psycopg.OperationalError:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)
