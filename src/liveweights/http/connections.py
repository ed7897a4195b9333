"""Connections to the database for what users ask of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg

from liveweights.http.errors import ApiError, too_many
from liveweights.http.slots import QueueFull, Slots
from liveweights.store.database import Connection, Pool

AT_ONCE, WAITING = 2, 32
"""Questions; tenants take turns. Their connections are those of all that users wait for."""
LONGEST_SECONDS = 30


class Connections:
    """So few at once, and each statement so short, that nobody's questions keep the others from
    theirs. For use from one event loop."""

    def __init__(
        self,
        pool: Pool,
        *,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        longest: int | None = None,
    ) -> None:
        """``longest``: seconds of a statement; None: ``LONGEST_SECONDS``."""
        self._pool = pool
        self._longest = longest
        self._slots = Slots(at_once, waiting)

    @asynccontextmanager
    async def take(self, tenant: str = "", *, writes: bool = False) -> AsyncGenerator[Connection]:
        """One, in a transaction, in which Postgres refuses every change but where it ``writes``:
        whoever does has the audit to think of. Raises ApiError 429 where too many wait, 408 where a
        statement takes too long."""
        longest = self._longest or LONGEST_SECONDS
        begin = f"set local statement_timeout = '{longest}s'"
        if not writes:
            begin += "; set transaction read only"
        try:
            async with self._slots.hold(1, tenant=tenant), self._pool.connection() as conn:
                await conn.execute(begin.encode(), prepare=False)  # they are two statements
                yield conn
        except QueueFull as error:
            raise too_many(f"Too many ask at once: {error}.", "queue", 2.0) from None
        except psycopg.errors.QueryCanceled:
            message = f"It takes more than {longest} s; ask for less, or about a shorter time."
            raise ApiError(408, message, type="timeout_error", code="deadline_exceeded") from None
