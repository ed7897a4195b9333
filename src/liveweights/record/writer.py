"""The one way into the record: a task that writes in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from types import TracebackType

import psycopg

from liveweights.record.batch import Fate, find_new, prepare, store
from liveweights.record.binary import Row, encode
from liveweights.record.clean import check_feedback, clean_generation
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.prices import Price
from liveweights.record.spill import Spill
from liveweights.store.database import Connection, Pool, connect_like
from liveweights.store.partitions import UNDATED, ensure

log = logging.getLogger(__name__)

REFUSALS = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, ArithmeticError)

YIELD = 64
"""After how many generations whoever adds them without a pause lets the writer go on."""


class UnknownGeneration(LookupError):
    """No generation of this tenant has that id."""


class ConflictingFeedback(ValueError):
    """The tenant has used this feedback id already, for something else."""


class WriterClosed(RuntimeError):
    """The writer was closed, or could not write everything before it closed."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    feedback: Feedback
    result: asyncio.Future[bool]


_Item = Row | _Pending


class Writer:
    """Batches generations and feedback; each batch is one transaction.

    A batch holds what has gathered since the batch before, at most ``batch_rows`` rows; batches
    begin at least ``linger`` seconds after the end of the one before, and ``gather`` seconds
    where no feedback waits; an idle writer, and one with a single client, writes at once. At most
    ``capacity`` rows wait in memory; after that adding waits. While Postgres is away, batches are
    tried again for ever, and nothing is written twice. With a ``spill``, generations that wait
    then go to disk (until it is full), also when the writer closes, and are written first when
    Postgres is back, or by the next writer; feedback waits, because its acknowledgement means
    that it is in Postgres. Closing writes everything that was added, or raises WriterClosed after
    ``close_timeout`` seconds if anything would be lost.

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
        capacity: int = 10_000,
        close_timeout: float = 30.0,
        prices: Mapping[str, Price] | None = None,
        spill: Spill | None = None,
    ) -> None:
        self._pool = pool
        self._linger = linger
        self._gather = max(linger, gather) if linger else 0.0
        self._batch_rows = batch_rows
        self._capacity = capacity
        self._close_timeout = close_timeout
        self._prices = prices or {}
        self._spill = spill
        self._conn: Connection | None = None
        self._columnstore = False
        self._days: set[date] = {UNDATED}
        self._queue: deque[_Item] = deque()
        self._in_flight = 0
        self._added = 0
        self._written = 0
        self._last_count = 0
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def backlog(self) -> int:
        """Rows that were added and are not in Postgres yet."""
        return self._in_memory + (self._spill.rows if self._spill else 0)

    @property
    def _in_memory(self) -> int:
        return len(self._queue) + self._in_flight

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
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=self._close_timeout)
        if task.done():
            task.result()
            return
        task.cancel()
        await asyncio.wait({task})
        if not self._in_memory:
            log.warning("%d rows are left on disk for the next writer", self.backlog)
            return
        raise WriterClosed(
            f"{self._in_memory} rows of the record could not be written within "
            f"{self._close_timeout:g} s of closing: the database is away"
        )

    async def add_generation(self, generation: Generation) -> None:
        """Return when the row is buffered; it is durable soon after.

        Text that cannot be stored is mended. Raises InvalidRow, WriterClosed.
        """
        generation = clean_generation(generation)
        try:
            row = encode(generation, self._prices)
        except (TypeError, ValueError) as error:
            log.error("generation %s cannot be recorded and is dropped: %s", generation.id, error)
            return
        await self._add(row)
        self._added += 1
        if self._added % YIELD == 0:
            await asyncio.sleep(0)

    async def add_feedback(self, feedback: Feedback) -> bool:
        """Return when the row is durable: True if it is new, False if it is a repeat.

        The generation may have been added just before. Raises UnknownGeneration,
        ConflictingFeedback, InvalidRow, WriterClosed; in each case nothing was stored.
        """
        check_feedback(feedback)
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self._add(_Pending(feedback, result))
        return await result

    async def flush(self) -> None:
        """Return when everything that was added before is in Postgres. Raises WriterClosed."""
        target = self._written + self.backlog
        await self._until(lambda: self._written >= target)
        if self._written < target:
            raise WriterClosed("the writer ended before everything was written")

    async def _add(self, item: _Item) -> None:
        if self._in_memory >= self._capacity:
            await self._until(lambda: self._in_memory < self._capacity)
        if self._closing or self._ended():
            raise WriterClosed("the writer is closed; nothing more can be recorded")
        self._queue.append(item)
        self._work.set()
        if isinstance(item, _Pending) or self._is_full():
            self._urgent.set()

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
        batch: list[_Item] = []
        try:
            while True:
                await self._work.wait()
                if not self._queue:
                    if self._closing:
                        return
                    self._work.clear()
                    if not (self._spill and self._spill.rows):
                        continue
                await self._linger_since(last)
                count = min(len(self._queue), self._batch_rows)
                batch = [self._queue.popleft() for _ in range(count)]
                self._in_flight = count
                await self._write(batch)
                self._last_count = count
                self._written += self._in_flight  # without what was put aside
                self._in_flight = 0
                batch = []
                last = loop.time()
                self._wake()
        finally:
            await self._disconnect()
            left = (*batch, *self._queue)
            for item in left:
                if isinstance(item, _Pending) and not item.result.done():
                    item.result.set_exception(WriterClosed("the writer ended before this"))
            rows = [item for item in left if isinstance(item, Row)]
            if rows and self._spill and not self._spill.full:
                self._spill.append(rows)
                self._queue.clear()
                self._in_flight = 0

    async def _linger_since(self, last: float) -> None:
        """Let a batch gather: briefly if somebody waits for it, else longer."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            if not self._is_full():
                async with asyncio.timeout_at(last + self._gather):
                    await self._urgent.wait()
        # Who is alone waits for nobody.
        crowd = max(self._last_count, len(self._queue)) > 1
        wait = last + self._linger - loop.time()
        if crowd and wait > 0 and not self._is_full():
            await asyncio.sleep(wait)
        self._urgent.clear()

    def _is_full(self) -> bool:
        return self._closing or len(self._queue) >= self._batch_rows

    async def _write(self, batch: Sequence[_Item]) -> None:
        """Store the batch and resolve its futures. Halves it around a row that is refused."""
        try:
            fates = await self._commit(batch)
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(batch) == 1:
                self._refuse(batch[0], error)
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        for pending, fate in fates:
            _resolve(pending, fate)

    async def _commit(self, batch: Sequence[_Item]) -> list[tuple[_Pending, Fate]]:
        """One transaction, tried until Postgres takes it."""
        generations = [item for item in batch if isinstance(item, Row)]
        pending = [item for item in batch if isinstance(item, _Pending)]
        feedback = [item.feedback for item in pending]
        pause = 0.05
        again = False
        while True:
            try:
                conn = await self._connected()
                await self._replay(conn)
                fates = await self._transact(conn, generations, feedback, again)
            except psycopg.Error as error:
                if _is_refusal(error):
                    raise
                log.warning(
                    "%d rows of the record wait for the database, next try in %.2g s: %s",
                    self.backlog,
                    pause,
                    error,
                )
                await self._disconnect()
                if again:  # more than a moment
                    generations = await self._put_aside(generations)
                again = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1.0)
            else:
                return list(zip(pending, fates, strict=True))

    async def _transact(
        self, conn: Connection, rows: Sequence[Row], feedback: Sequence[Feedback], again: bool
    ) -> list[Fate]:
        days = {row.day for row in rows} - self._days
        if days:
            await ensure(conn, days)
            self._days |= days
        new = await find_new(conn, rows) if again else rows
        while True:
            try:
                async with conn.transaction():
                    return await store(
                        conn, new, feedback, again=again, columnstore=self._columnstore
                    )
            except psycopg.errors.UniqueViolation:
                count = len(new)
                new = await find_new(conn, new)
                if len(new) == count:
                    raise

    async def _put_aside(self, rows: list[Row]) -> list[Row]:
        """Move these rows and those in the queue to disk; what stays in memory of the former."""
        if self._spill is None or self._spill.full:
            return rows
        seen = len(self._queue)
        waiting = [self._queue[place] for place in range(seen)]
        aside = rows + [item for item in waiting if isinstance(item, Row)]
        if not aside:
            return rows
        try:
            await asyncio.to_thread(self._spill.append, aside)
        except OSError as error:
            log.warning("rows stay in memory, the disk takes none: %s", error)
            return rows
        added = [self._queue[place] for place in range(seen, len(self._queue))]
        self._queue = deque([item for item in waiting if isinstance(item, _Pending)] + added)
        self._in_flight -= len(rows)
        self._wake()
        return []

    async def _replay(self, conn: Connection) -> None:
        """Write what waits on disk. Raises psycopg.Error when Postgres goes away again."""
        spill = self._spill
        while spill and spill.rows:
            rows = await asyncio.to_thread(spill.oldest)
            for start in range(0, len(rows), self._batch_rows):
                await self._replay_rows(conn, rows[start : start + self._batch_rows])
            before = spill.rows
            await asyncio.to_thread(spill.remove_oldest)
            self._written += before - spill.rows
            self._wake()

    async def _replay_rows(self, conn: Connection, rows: Sequence[Row]) -> None:
        try:
            await self._transact(conn, rows, (), again=True)
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(rows) == 1:
                self._refuse(rows[0], error)
                return
            middle = len(rows) // 2
            await self._replay_rows(conn, rows[:middle])
            await self._replay_rows(conn, rows[middle:])

    async def _connected(self) -> Connection:
        if self._conn is None:
            self._conn = await connect_like(self._pool)
            self._columnstore = await prepare(self._conn)
        return self._conn

    async def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    def _refuse(self, item: _Item, error: Exception) -> None:
        if isinstance(item, Row):
            log.error("generation %s cannot be recorded and is dropped: %s", item.id, error)
        elif not item.result.done():
            item.result.set_exception(error)


def _is_refusal(error: Exception) -> bool:
    """Whether a row is at fault, and not the connection or the server.

    A ProgrammingError without SQLSTATE comes from psycopg: a value that it cannot send.
    """
    unsendable = isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
    return isinstance(error, REFUSALS) or unsendable


def _resolve(pending: _Pending, fate: Fate) -> None:
    result, f = pending.result, pending.feedback
    if result.done():  # whoever sent it has gone
        return
    if fate is Fate.UNKNOWN:
        result.set_exception(
            UnknownGeneration(f"no generation {f.generation!r} of tenant {f.tenant!r}")
        )
    elif fate is Fate.CONFLICT:
        result.set_exception(
            ConflictingFeedback(
                f"feedback id {f.id!r} was used before with other content; send a correction "
                "under a new id"
            )
        )
    else:
        result.set_result(fate is Fate.NEW)
