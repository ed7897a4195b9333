"""Days of the ledger that are over, each sealed with a hash over its entries and the day before.

Whoever changes an entry of a sealed day changes the hash of that day and of all that follow it;
who keeps one of these hashes elsewhere can tell.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString, cast

from liveweights.store.database import Connection, Pool
from liveweights.store.faults import note_fault

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two looks for a day that is over."""
_LOCK = 7_301_120_017
"""Key of the advisory lock: one process closes at a time."""
OPENING = date(1970, 1, 1)
"""The day of the first row, which is none: it says when the ledger was opened."""

# As bytes that are the same whatever the session is set to. COPY escapes what is in the columns.
ENTRIES: LiteralString = """
copy (
    select seq, id, (extract(epoch from at) * 1000000)::bigint, amount, cost, prompt_tokens,
        cached_tokens, output_tokens, reasoning_tokens, requests, sent_tokens, tenant, model,
        checkpoint, key, rule, price, cost_price, currency, cost_currency, reverses, reason
    from ledger where day = %s order by seq
) to stdout
"""
OVER = "select (clock_timestamp() at time zone 'UTC')::date"
OPEN_DAYS = """
select distinct day from ledger
where day < %s and day > (select max(day) from ledger_days) order by day
"""


@dataclass(frozen=True, slots=True)
class SealedDay:
    day: date
    entries: int
    hash: bytes
    closed_at: datetime


Also = Callable[[Connection, Sequence[SealedDay]], Awaitable[None]]


async def read_days(conn: Connection) -> list[SealedDay]:
    """In order, the opening first."""
    cursor = await conn.execute("select day, entries, hash, closed_at from ledger_days order by 1")
    return [SealedDay(day, n, bytes(hash), at) for day, n, hash, at in await cursor.fetchall()]


async def hash_day(conn: Connection, day: date, before: bytes) -> tuple[int, bytes]:
    """How many entries ``day`` has, and the SHA-256 of the hash before and all of them."""
    digest, count = hashlib.sha256(before), 0
    async with conn.cursor() as cursor, cursor.copy(ENTRIES, (day,)) as copy:
        async for line in copy:
            digest.update(line)
            count += bytes(line).count(b"\n")
    return count, digest.digest()


async def close_days(conn: Connection, *, also: Also | None = None) -> list[SealedDay]:
    """Seal every day that is over, all in one transaction, in which ``also`` is awaited if there
    were any; those that were. ``conn`` is outside any transaction."""
    closed: list[SealedDay] = []
    async with conn.transaction():
        cursor = await conn.execute(OVER)
        (over,) = cast(tuple[date], await cursor.fetchone())
        cursor = await conn.execute(OPEN_DAYS, (over,))
        if not await cursor.fetchall():
            return closed
    async with conn.transaction():
        # Waits for all who are booking. Whoever books afterwards books on a day that is not over.
        await conn.execute("lock table ledger in share mode")
    async with conn.transaction():
        await conn.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor = await conn.execute(OPEN_DAYS, (over,))
        days = [day for (day,) in await cursor.fetchall()]
        last = (await read_days(conn))[-1]
        before = last.hash
        for day in days:
            count, before = await hash_day(conn, day, before)
            cursor = await conn.execute(
                "insert into ledger_days (day, entries, hash) values (%s, %s, %s)"
                " returning closed_at",
                (day, count, before),
            )
            (closed_at,) = cast(tuple[datetime], await cursor.fetchone())
            closed.append(SealedDay(day, count, before, closed_at))
        if also is not None and closed:
            await also(conn, closed)
    return closed


async def keep_closing(pool: Pool) -> None:
    """Seal days for ever. The hash of each is in the log, too, where nobody changes it with the
    database."""
    while True:
        try:
            async with pool.connection() as conn:
                await conn.commit()
                for day in await close_days(conn):
                    log.info(
                        "the ledger of %s is sealed: %d entries, hash %s",
                        *(day.day, day.entries, day.hash.hex()),
                    )
        except Exception as error:
            # Whatever it was, the next time may find it mended.
            note_fault(log, error, "days of the ledger are sealed later")
        await asyncio.sleep(EVERY)


async def find_broken_days(conn: Connection) -> list[date]:
    """Sealed days whose entries are not what was sealed."""
    days = await read_days(conn)
    broken: list[date] = []
    before = days[0].hash
    for day in days[1:]:
        if await hash_day(conn, day.day, before) != (day.entries, day.hash):
            broken.append(day.day)
        before = day.hash
    return broken
