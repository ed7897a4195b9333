"""The one way into the record: a task that writes in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from liveweights.deadlines import LEAVE
from liveweights.record import counts
from liveweights.record.backlog import Backlog
from liveweights.record.batch import Charge, Fate
from liveweights.record.binary import encode
from liveweights.record.buffer import Buffer, Item, Pending, size_of
from liveweights.record.clean import (
    InvalidRow,
    check_feedback,
    clamp_numbers,
    clean_generation,
)
from liveweights.record.delivery import Delivery
from liveweights.record.edits import Edits
from liveweights.record.episodes import find_steps
from liveweights.record.errors import (
    ConflictingFeedback,
    TooMuchFeedback,
    UnknownEpisode,
    UnknownGeneration,
    WriterClosed,
)
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.refused import reason_of, unencodable
from liveweights.record.spill import Spill
from liveweights.store.database import Pool
from liveweights.store.faults import Fault, fault_of

log = logging.getLogger(__name__)

T = TypeVar("T")

YIELD = 64
"""After how many generations whoever adds them without a pause lets the writer go on."""
ABANDON = LEAVE / 2
"""Seconds that the task gets when it is told to end, and again without waiting for the server."""


class Writer:
    """Batches generations and feedback; each batch is one transaction.

    A batch holds what has gathered since the batch before, at most ``batch_rows`` rows and about
    ``batch_bytes``; batches begin at least ``linger`` seconds after the end of the one before, and
    ``gather`` seconds where no feedback waits; an idle writer, and one with a single client,
    writes at once. At most ``capacity`` rows and ``capacity_bytes`` wait in memory; after that
    adding waits. While Postgres is away, batches are tried again for ever, and nothing is written
    twice; a row that Postgres refuses goes into quarantine, and the others go on. With a
    ``spill``, generations that wait then go to disk (until it is full), also when the writer
    closes, and are written first when Postgres is back, or by the next writer; feedback waits,
    because its acknowledgement means that it is in Postgres. Closing writes everything that was
    added, puts what is left after ``close_timeout`` seconds on disk, or raises WriterClosed if
    anything would be lost.

    It has a connection of its own, to the pool's database: a crowded pool does not delay it, and
    it is back within a moment of the server. One event loop only.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        linger: float = 0.01,
        gather: float = 0.05,
        batch_rows: int = 5000,
        batch_bytes: int = 2**24,
        capacity: int = 10_000,
        capacity_bytes: int = 2**27,
        close_timeout: float = 30.0,
        late_after: float = 60.0,
        most_feedback: int = counts.MOST,
        charge: Charge | None = None,
        imported: bool = False,
        spill: Spill | None = None,
    ) -> None:
        """``most_feedback`` is how much one generation takes; a backlog older than ``late_after``
        seconds is late. ``charge`` says what generations cost, and joins the transaction that
        stores them; without it they cost nothing. ``imported``: they were given elsewhere before,
        which is kept of those that Postgres refuses."""
        self._linger = linger
        self._gather = max(linger, gather) if linger else 0.0
        self._batch = batch_rows, batch_bytes
        self._capacity = capacity, capacity_bytes
        self._close_timeout = close_timeout
        self._late_after = late_after
        self._most_feedback = most_feedback
        self._spill = spill
        self._buffer = Buffer()
        self._pool = pool
        self._edits = Edits(pool)
        self._delivery = Delivery(
            pool,
            self._buffer,
            spill,
            batch_rows=batch_rows,
            batch_bytes=batch_bytes,
            most_feedback=most_feedback,
            resolve=self._resolve,
            wake=self._wake,
            charge=charge,
            imported=imported,
        )
        self._added = 0
        self._last_count = 0
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def backlog(self) -> Backlog:
        spill = self._spill
        since = spill.since if spill else None
        age = max(self._buffer.age, time.time() - since if since is not None else 0.0)
        return Backlog(
            rows=self._buffer.rows + (spill.rows if spill else 0),
            bytes=self._buffer.bytes + (spill.bytes if spill else 0),
            age=age,
            late=age > self._late_after or (self._ended() and not self._closing),
            quarantined=self._delivery.quarantined,
        )

    async def __aenter__(self) -> Writer:
        if self._spill and self._spill.rows:
            log.info("%d rows that an earlier writer left on disk follow", self._spill.rows)
            self._work.set()
        self._task = asyncio.create_task(self._run(), name="record writer")
        self._task.add_done_callback(lambda _: self._wake())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._work.set()
        self._urgent.set()
        self._wake()
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=self._close_timeout)
        if task.done():
            task.result()
            return
        # On disk before the task is asked to end: a server that does not answer delays its end.
        self._leave()
        for _ in range(2):  # the second time without waiting for the server
            task.cancel()
            await asyncio.wait({task}, timeout=ABANDON)
        if any(not isinstance(item, Pending) for item in self._buffer):
            raise WriterClosed(
                f"{self._buffer.rows} rows of the record could not be written within "
                f"{self._close_timeout:g} s of closing: the database is away"
            )
        log.warning("%d rows are left on disk for the next writer", self.backlog.rows)

    async def add_generation(self, generation: Generation) -> None:
        """Return when the row is buffered; it is durable soon after.

        What cannot be stored of it is mended: see ``clean_generation``. Raises WriterClosed.
        """
        try:
            generation = clean_generation(generation)
            try:
                row = encode(generation)
            except (TypeError, ValueError):
                row = encode(clamp_numbers(generation))
        except (TypeError, ValueError) as error:
            log.error("generation %s cannot be recorded: %s", generation.id, error)
            row = unencodable(generation, error)
        await self._add(row)
        self._added += 1
        if self._added % YIELD == 0:
            await asyncio.sleep(0)

    async def add_feedback(self, feedback: Feedback) -> bool:
        """Return when the row is durable: True if it is new, False if it is a repeat.

        The generation may have been added just before. Raises UnknownGeneration,
        ConflictingFeedback, TooMuchFeedback, InvalidRow, WriterClosed; in each case nothing was
        stored, but what Postgres refused (InvalidRow) may be in quarantine.
        """
        check_feedback(feedback)
        survived = await self._compare(feedback) if feedback.signal == "edited" else None
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        size = 256 + len(feedback.text or "")
        await self._add(Pending(feedback, result, survived, size))
        return await result

    async def steps(self, tenant: str, name: str, *, session: bool) -> list[str]:
        """The answers of an episode or a session, those added just before included; see
        ``episodes.find_steps``. Waits for the database. Raises UnknownEpisode, TooManySteps,
        WriterClosed."""

        async def find() -> list[str]:
            await self.flush()
            async with self._pool.connection() as conn:
                return await find_steps(conn, tenant, name, session=session)

        steps = await self._ask(find)
        if not steps:
            raise UnknownEpisode(name)
        return steps

    async def flush(self) -> None:
        """Return when everything that was added before is in Postgres. Raises WriterClosed."""
        target = self._delivery.settled + self.backlog.rows
        if self._buffer.queued:
            self._urgent.set()
        await self._until(lambda: self._delivery.settled >= target)
        if self._delivery.settled < target:
            raise WriterClosed("the writer ended before everything was written")

    async def _compare(self, edit: Feedback) -> float | None:
        """What is left of the answer. Waits for the database. Raises WriterClosed."""
        return await self._ask(lambda: self._edits.compare(edit, self.flush))

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """What the database says, as soon as it is there. Raises WriterClosed."""
        pause = 0.05
        while not (self._closing or self._ended()):
            try:
                return await question()
            except Exception as error:
                if fault_of(error) is not Fault.SERVER:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
        raise WriterClosed("the writer is closed; nothing more can be recorded")

    async def _add(self, item: Item) -> None:
        size = size_of(item)
        if not self._has_room(size):
            await self._until(lambda: self._closing or self._has_room(size))
        # What was answered is still taken while the writer closes; feedback can be sent again.
        if self._ended() or (self._closing and isinstance(item, Pending)):
            raise WriterClosed("the writer is closed; nothing more can be recorded")
        self._buffer.add(item)
        self._work.set()
        if isinstance(item, Pending) or self._is_full():
            self._urgent.set()

    def _has_room(self, size: int) -> bool:
        rows, bytes = self._capacity
        buffer = self._buffer
        return not buffer.rows or (buffer.rows < rows and buffer.bytes + size <= bytes)

    def _ended(self) -> bool:
        return self._task is None or self._task.done()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for ``condition``, or for the end of the task."""
        while not condition() and not self._ended():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time() - self._gather
        try:
            while True:
                await self._work.wait()
                if not self._buffer.queued:
                    if self._closing:
                        return
                    self._work.clear()
                    if not self._delivery.on_disk:
                        continue
                await self._linger_since(last)
                self._last_count = self._buffer.take(*self._batch)
                await self._delivery.deliver()
                last = loop.time()
                self._wake()
        finally:
            await self._delivery.disconnect()
            self._leave()

    def _leave(self) -> None:
        """Generations go to disk for the next writer, whatever its limit; feedback is told that it
        was not stored."""
        for item in self._buffer:
            if isinstance(item, Pending) and not item.result.done():
                item.result.set_exception(WriterClosed("the writer ended before this"))
        rows = self._buffer.generations()
        if not rows or self._spill is None:
            return
        try:
            self._spill.append(rows)
        except OSError as error:
            log.error("%d rows could not be left on disk: %s", len(rows), error)
        else:
            self._buffer.remove(rows)

    async def _linger_since(self, last: float) -> None:
        """Let a batch gather: briefly if somebody waits for it, else longer."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            if not self._is_full():
                async with asyncio.timeout_at(last + self._gather):
                    await self._urgent.wait()
        # Who is alone waits for nobody.
        crowd = max(self._last_count, self._buffer.queued) > 1
        wait = last + self._linger - loop.time()
        if crowd and wait > 0 and not self._is_full():
            await asyncio.sleep(wait)
        self._urgent.clear()

    def _is_full(self) -> bool:
        rows, bytes = self._batch
        buffer = self._buffer
        return self._closing or buffer.queued >= rows or buffer.bytes >= bytes

    def _resolve(self, pending: Pending, outcome: Fate | Exception) -> None:
        result, f = pending.result, pending.feedback
        if result.done():  # whoever sent it has gone
            return
        match outcome:
            case Exception():
                result.set_exception(
                    InvalidRow(f"feedback {f.id!r} was refused: {reason_of(outcome)}")
                )
            case Fate.UNKNOWN:
                result.set_exception(
                    UnknownGeneration(f"no generation {f.generation!r} of tenant {f.tenant!r}")
                )
            case Fate.CONFLICT:
                result.set_exception(
                    ConflictingFeedback(
                        f"feedback id {f.id!r} was used before with other content; send a "
                        "correction under a new id"
                    )
                )
            case Fate.SURPLUS:
                result.set_exception(
                    TooMuchFeedback(
                        f"generation {f.generation!r} has {self._most_feedback} rows of feedback "
                        "already, the most that are kept"
                    )
                )
            case Fate.NEW | Fate.REPEAT:
                result.set_result(outcome is Fate.NEW)
