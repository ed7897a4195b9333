"""The one way into the record: a task that writes in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import psycopg

from liveweights.record.batch import Fate, store
from liveweights.record.clean import check_feedback, clean_generation
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.store.database import Connection, Pool, connect_like

log = logging.getLogger(__name__)

REFUSALS = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, ArithmeticError)


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


_Item = Generation | _Pending


class Writer:
    """Batches generations and feedback; each batch is one transaction.

    A batch holds what has gathered since the batch before, at most ``batch_rows`` rows; batches
    begin at least ``linger`` seconds after the end of the one before, so an idle writer writes at
    once. At most ``capacity`` rows wait in memory; after that adding waits. While
    Postgres is away, batches are tried again for ever, and nothing is written twice. Closing
    writes everything that was added, or raises WriterClosed after ``close_timeout`` seconds.

    It has a connection of its own, to the pool's database: a crowded pool does not delay it, and
    it is back within a moment of the server. One event loop only.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        linger: float = 0.01,
        batch_rows: int = 200,
        capacity: int = 10_000,
        close_timeout: float = 30.0,
    ) -> None:
        self._pool = pool
        self._linger = linger
        self._batch_rows = batch_rows
        self._capacity = capacity
        self._close_timeout = close_timeout
        self._conn: Connection | None = None
        self._queue: deque[_Item] = deque()
        self._in_flight = 0
        self._written = 0
        self._work = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def backlog(self) -> int:
        """Rows that were added and are not durable yet."""
        return len(self._queue) + self._in_flight

    async def __aenter__(self) -> Writer:
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
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=self._close_timeout)
        if task.done():
            task.result()
            return
        task.cancel()
        await asyncio.wait({task})
        raise WriterClosed(
            f"{self.backlog} rows of the record could not be written within "
            f"{self._close_timeout:g} s of closing: the database is away"
        )

    async def add_generation(self, generation: Generation) -> None:
        """Return when the row is buffered; it is durable soon after.

        Text that cannot be stored is mended. Raises InvalidRow, WriterClosed.
        """
        await self._add(clean_generation(generation))

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
        """Return when everything that was added before is durable. Raises WriterClosed."""
        target = self._written + self.backlog
        await self._until(lambda: self._written >= target)
        if self._written < target:
            raise WriterClosed("the writer ended before everything was written")

    async def _add(self, item: _Item) -> None:
        await self._until(lambda: self.backlog < self._capacity)
        if self._closing or self._ended():
            raise WriterClosed("the writer is closed; nothing more can be recorded")
        self._queue.append(item)
        self._work.set()

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
        last = loop.time()
        batch: list[_Item] = []
        try:
            while True:
                await self._work.wait()
                if not self._queue:
                    if self._closing:
                        return
                    self._work.clear()
                    continue
                wait = last + self._linger - loop.time()
                if wait > 0 and len(self._queue) < self._batch_rows and not self._closing:
                    await asyncio.sleep(wait)
                count = min(len(self._queue), self._batch_rows)
                batch = [self._queue.popleft() for _ in range(count)]
                self._in_flight = count
                await self._write(batch)
                self._in_flight = 0
                self._written += count
                batch = []
                last = loop.time()
                self._wake()
        finally:
            await self._disconnect()
            for item in (*batch, *self._queue):
                if isinstance(item, _Pending) and not item.result.done():
                    item.result.set_exception(WriterClosed("the writer ended before this"))

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
        generations = [item for item in batch if isinstance(item, Generation)]
        pending = [item for item in batch if isinstance(item, _Pending)]
        feedback = [item.feedback for item in pending]
        pause = 0.05
        again = False
        while True:
            try:
                conn = await self._connected()
                async with conn.transaction():
                    fates = await store(conn, generations, feedback, again=again)
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
                again = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1.0)
            else:
                return list(zip(pending, fates, strict=True))

    async def _connected(self) -> Connection:
        if self._conn is None:
            self._conn = await connect_like(self._pool)
        return self._conn

    async def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    def _refuse(self, item: _Item, error: Exception) -> None:
        if isinstance(item, Generation):
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
