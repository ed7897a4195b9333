"""What the database needs now and then."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from liveweights.store.columnstore import close_days
from liveweights.store.database import Pool
from liveweights.store.faults import note_fault
from liveweights.store.partitions import drop_before, ensure_ahead

log = logging.getLogger(__name__)

EVERY = 3600.0


async def keep_up(pool: Pool, *, metric_days: int, every: float = EVERY) -> None:
    """For ever: partitions for the days ahead, none for samples of the load that are older than
    ``metric_days``, columnstore for days that have been over for a day, where there is one, and
    statistics of the partitioned tables.

    Postgres gathers the latter of partitions by itself, but not of the whole; without them,
    grouping by time sorts instead of hashing.
    """
    while True:
        try:
            async with pool.connection() as conn:
                await ensure_ahead(conn)
                await conn.execute("analyze generations, feedback")
                await conn.commit()
                today = datetime.now(UTC).date()
                await drop_before(conn, "engine_metrics", today - timedelta(days=metric_days))
                await conn.commit()
                await close_days(conn, today - timedelta(days=1))
        except Exception as error:
            # Whatever it was, the next time may find it mended.
            note_fault(log, error, "upkeep waits for the database")
        await asyncio.sleep(every)
