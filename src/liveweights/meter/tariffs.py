"""The prices that a process knows: what an answer is said to cost before it is booked."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import cast

from liveweights.meter.price_book import Held, PriceBook
from liveweights.meter.price_rows import LEAD, VERSION, read_book
from liveweights.store.database import Pool
from liveweights.store.faults import note_fault

log = logging.getLogger(__name__)

EVERY = LEAD.total_seconds() / 12
"""Seconds between two looks for new prices: far within the time that they are there before they
hold."""


class Tariffs:
    """A price book that is kept up to date. While the database is away, what was last known
    holds."""

    def __init__(self, pool: Pool, book: PriceBook | None = None) -> None:
        """``book`` is what is known before the first look."""
        self._pool = pool
        self._book = book or PriceBook()
        self._version = -1, -1

    def find(self, tenant: str, model: str, at: datetime) -> Held:
        """What holds for an answer that is asked for at that time."""
        return self._book.find(tenant, model, at)

    async def refresh(self) -> None:
        """Read what has been added. Raises psycopg.OperationalError, PoolTimeout."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute(f"select {VERSION}")
            version = cast(tuple[int, int], await cursor.fetchone())
            if version != self._version:
                self._book, self._version = await read_book(conn), version

    async def keep_fresh(self) -> None:
        """Read what is added, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.refresh()
            except Exception as error:
                # Whatever it was, the next time may find it mended.
                note_fault(log, error, "new prices are read later")
