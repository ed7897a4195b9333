"""How what waits gets into Postgres: tried until it is there, refused rows put aside alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date

import psycopg

from liveweights.record import quarantine
from liveweights.record.active_users import Noted, Users, users_of
from liveweights.record.batch import Charge, Fate, find_new, prepare, store
from liveweights.record.binary import Row
from liveweights.record.buffer import Buffer, Item, Part, Pending, split
from liveweights.record.counts import FeedbackCounts
from liveweights.record.refused import (
    Refused,
    reason_of,
    refused_feedback,
    refused_generation,
)
from liveweights.record.spill import Spill
from liveweights.store.database import Connection, Pool, connect_like
from liveweights.store.faults import Fault, fault_of
from liveweights.store.partitions import UNDATED, day_of, ensure

log = logging.getLogger(__name__)

PAUSE, LONGEST_PAUSE = 0.05, 1.0
TRIES = 3
"""After so many unclear errors in a row it is taken to be the rows: they are halved or put aside.
"""
UNREADABLE_PAUSE = 60.0


class Delivery:
    """Writes the batch under way in ``buffer``, and before it what is on disk.

    An error that is the server's is waited out for ever; what waits meanwhile goes to disk. What
    Postgres refuses is halved until the bad row is alone, which then goes into quarantine; where
    it is not clear who is to blame, only if the server takes it there.
    """

    def __init__(
        self,
        pool: Pool,
        buffer: Buffer,
        spill: Spill | None,
        *,
        batch_rows: int,
        batch_bytes: int,
        most_feedback: int,
        resolve: Callable[[Pending, Fate | Exception], None],
        wake: Callable[[], None],
        charge: Charge | None = None,
        imported: bool = False,
    ) -> None:
        """``resolve`` is told the fate of each feedback, or why it was refused; ``wake`` is called
        when there is more room or more is ``settled``. ``imported``: the answers were given
        elsewhere before, which is kept of those that are refused."""
        self._pool = pool
        self._buffer = buffer
        self._spill = spill
        self._batch = batch_rows, batch_bytes
        self._counts = FeedbackCounts(most_feedback)
        self._noted = Noted()
        self._resolve = resolve
        self._wake = wake
        self._charge = charge
        self._imported = imported
        self._conn: Connection | None = None
        self._columnstore = False
        self._days: set[date] = {UNDATED}
        self._disk: deque[Part] = deque()  # what is not written yet of the oldest segment
        self._unreadable_until = 0.0
        self.settled = 0
        """Rows that are done with."""
        self.quarantined = 0

    async def deliver(self) -> None:
        """Return when nothing is left of the batch, nor on disk."""
        pause, doubts = PAUSE, 0
        while (part := await self._next()) is not None:
            try:
                fates = await self._attempt(part)
            except Exception as error:
                fault = fault_of(error)
                doubts += fault is Fault.UNCLEAR
                if fault is Fault.REQUEST or doubts == TRIES:
                    doubts = 0
                    await self._isolate(part, error, certain=fault is Fault.REQUEST)
                    continue
                log.warning(
                    "%d rows of the record wait for the database, next try in %.2g s: %s",
                    *(self._buffer.rows + self.on_disk, pause, reason_of(error)),
                )
                await self.disconnect()
                if part.again:  # more than a moment
                    await self._put_aside()
                part.again = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pending = [item for item in part.items if isinstance(item, Pending)]
                for item, fate in zip(pending, fates, strict=True):
                    if fate is Fate.NEW:
                        self._counts.add(item.feedback)
                    self._resolve(item, fate)
                await self._settle()
                pause, doubts = PAUSE, 0

    @property
    def on_disk(self) -> int:
        return self._spill.rows if self._spill else 0

    async def disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def _connected(self) -> Connection:
        """Raises ConnectionError, whatever the reason: no row has been sent yet."""
        if self._conn is None:
            try:
                conn = await connect_like(self._pool)
                self._conn = conn
                self._columnstore = await prepare(conn)
            except psycopg.Error as error:
                await self.disconnect()
                raise ConnectionError(str(error)) from error
        return self._conn

    async def _next(self) -> Part | None:
        """What goes into the next transaction: what is on disk came first."""
        if not self._disk and self.on_disk:
            await self._read_disk()
        return self._disk[0] if self._disk else self._buffer.part

    async def _read_disk(self) -> None:
        spill = self._spill
        assert spill is not None
        if time.monotonic() < self._unreadable_until:
            return
        try:
            while spill.rows and not self._disk:
                rows = await asyncio.to_thread(spill.oldest)
                self._disk.extend(
                    Part(items, 0.0, again=True) for items in split(rows, *self._batch)
                )
                if not self._disk:
                    await self._remove_segment(spill)
        except OSError as error:
            log.error("rows on disk cannot be read now: %s", error)
            self._unreadable_until = time.monotonic() + UNREADABLE_PAUSE

    async def _remove_segment(self, spill: Spill) -> None:
        before = spill.rows
        try:
            await asyncio.to_thread(spill.remove_oldest)
        except OSError as error:
            log.error("rows that are written are offered again at the next start: %s", error)
        self.settled += before - spill.rows

    async def _settle(self) -> None:
        """The next part is done with."""
        if self._disk:
            self._disk.popleft()
            if not self._disk and self._spill:
                await self._remove_segment(self._spill)
        else:
            self.settled += len(self._buffer.settle())
        self._wake()

    async def _attempt(self, part: Part) -> list[Fate]:
        """One transaction."""
        if not part.items:
            return []
        conn = await self._connected()
        try:
            return await self._write(conn, part)
        except psycopg.errors.CheckViolation:
            # Partitions that were there may have gone to the archive since.
            days = _days_of(part.items) & self._days
            if not await ensure(conn, days):
                raise
            return await self._write(conn, part)

    async def _write(self, conn: Connection, part: Part) -> list[Fate]:
        rows = [item for item in part.items if isinstance(item, Row)]
        pending = [item for item in part.items if isinstance(item, Pending)]
        refused = [item for item in part.items if isinstance(item, Refused)]
        days = {row.day for row in rows} - self._days
        if days:
            await ensure(conn, days)
            self._days |= days
        new = await find_new(conn, rows) if part.again else rows
        booked = False
        while True:
            try:
                users = self._noted.list_new(users_of(new))
                async with conn.transaction():
                    for item in refused:
                        await quarantine.keep(conn, item)
                    fates = await self._store(
                        conn, new, pending, again=part.again, booked=booked, users=users
                    )
                self._noted.add(users)
                return fates
            except psycopg.errors.UniqueViolation:
                count = len(new)
                new = await find_new(conn, new)
                if len(new) == count and booked:
                    raise
                booked = True

    async def _store(
        self,
        conn: Connection,
        rows: Sequence[Row],
        pending: Sequence[Pending],
        *,
        again: bool,
        booked: bool,
        users: Users,
    ) -> list[Fate]:
        feedback = [item.feedback for item in pending]
        return await store(
            conn,
            rows,
            feedback,
            survived=[item.survived for item in pending],
            surplus=self._counts.surplus(feedback),
            again=again,
            columnstore=self._columnstore,
            charge=self._charge,
            booked=booked,
            users=users,
        )

    async def _isolate(self, part: Part, error: Exception, *, certain: bool) -> None:
        """Halve what was refused; one row alone goes into quarantine."""
        if len(part.items) > 1:
            if self._disk:
                self._disk.popleft()
                self._disk.extendleft(reversed(part.halves()))
            else:
                self._buffer.halve()
            return
        (item,) = part.items
        row = replace(_refused(item, error), imported=self._imported)
        if await self._quarantine(row, certain=certain):
            if isinstance(item, Pending):
                self._resolve(item, error)
            await self._settle()
        else:
            await asyncio.sleep(LONGEST_PAUSE)

    async def _quarantine(self, row: Refused, *, certain: bool) -> bool:
        """Whether the row is done with. Where the server does not take it here either, it may be
        the server that is to blame."""
        try:
            if not await quarantine.keep(await self._connected(), row):
                return True
        except Exception as error:
            await self.disconnect()
            if not certain or fault_of(error) is Fault.SERVER:
                return False
            if row.data:
                return await self._quarantine(replace(row, data=b""), certain=True)
            log.error("%s %s is lost: %s", row.kind, row.id, reason_of(error))
            return True
        self.quarantined += 1
        log.error("%s %s is in quarantine: %s", row.kind, row.id, row.reason)
        return True

    async def _put_aside(self) -> None:
        """Move generations from memory to disk. They stay where they are if it takes none."""
        rows = self._buffer.generations()
        if self._spill is None or self._spill.full or not rows:
            return
        try:
            await asyncio.to_thread(self._spill.append, rows)
        except OSError as error:
            log.warning("rows stay in memory, the disk takes none: %s", error)
        else:
            self._buffer.remove(rows)
            self._wake()


def _days_of(items: Iterable[Item]) -> set[date]:
    rows = {item.day for item in items if isinstance(item, Row)}
    return rows | {day_of(item.feedback.generation) for item in items if isinstance(item, Pending)}


def _refused(item: Item, error: Exception) -> Refused:
    if isinstance(item, Row):
        return refused_generation(item, error)
    if isinstance(item, Pending):
        return refused_feedback(item.feedback, item.survived, error)
    return item
