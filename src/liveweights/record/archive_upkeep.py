"""What goes out of Postgres by itself: whole days, and answers that nobody saw."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg_pool import PoolTimeout

from liveweights.record.archive import archive
from liveweights.record.archive_rows import ArchiveError, read_archives
from liveweights.record.parquet import ParquetUnavailable
from liveweights.record.settings import RecordSettings
from liveweights.record.shadow import expire_shadows
from liveweights.store.database import Connection, Pool
from liveweights.store.partitions import days

log = logging.getLogger(__name__)

EVERY = 3600.0


async def find_due(conn: Connection, settings: RecordSettings, today: date) -> list[date]:
    """Days that go out of Postgres now, oldest first: what the policy says, but none that were
    brought back, and those that a killed process brought back to forget a user."""
    archives = await read_archives(conn)
    borrowed = {one.day for one in archives if one.borrowed}
    if not settings.days:
        return sorted(borrowed)
    back = {one.day for one in archives if not one.is_away} - borrowed
    last = today - timedelta(days=settings.days)
    return [day for day in await days(conn) if day in borrowed or (day < last and day not in back)]


async def keep_archiving(
    pool: Pool, settings: RecordSettings, folder: Path, *, every: float = EVERY
) -> None:
    """For ever: take out of Postgres what the policy says, and what canaries answered in the shadow
    before they ended. What fails is tried again later, and
    keeps no other day from going."""
    while True:
        try:
            async with pool.connection() as conn:
                await expire_shadows(conn)
                due = await find_due(conn, settings, datetime.now(UTC).date())
            for day in due:
                await _take_out(pool, settings, folder, day)
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("nothing was archived: %s", error)
        except ParquetUnavailable as error:
            log.error("nothing was archived: %s", error)
        await asyncio.sleep(every)


async def _take_out(pool: Pool, settings: RecordSettings, folder: Path, day: date) -> None:
    """Raises ParquetUnavailable."""
    try:
        async with pool.connection() as conn:
            done = await archive(conn, day, folder, keep=settings.archive)
    except (psycopg.Error, PoolTimeout, ArchiveError, OSError, ValueError) as error:
        # pyarrow says ValueError of rows that it cannot write.
        log.warning("%s was not archived: %s", day, error)
    else:
        log.info(
            "%s: %d generations %s",
            *(day, done.generations, "archived" if done.files else "dropped"),
        )
