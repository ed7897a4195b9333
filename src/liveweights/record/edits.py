"""What is left of an answer that was edited, worked out before its feedback joins a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from liveweights.record.feedback import Feedback
from liveweights.record.survival import survival
from liveweights.store.database import Pool
from liveweights.store.partitions import day_of

OUTPUT = "select output from generations where day = %s and id = %s and tenant = %s"
AT_ONCE = 2


class Edits:
    """Looks answers up and compares them in threads: whoever sent an edit waits for it, the batches
    of others do not. At most ``AT_ONCE`` at a time, and one of a tenant, in the order they came.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def compare(self, edit: Feedback, settle: Callable[[], Awaitable[None]]) -> float | None:
        """The share of its answer that ``edit`` kept; None where there is no such answer.

        ``settle`` returns once all that was recorded so far is in Postgres. Raises psycopg.Error
        where that cannot be asked.
        """
        turn = self._turns.setdefault(edit.tenant, asyncio.Lock())
        async with turn:
            output = await self._find(edit)
            if output is None:  # given a moment ago, perhaps
                await settle()
                output = await self._find(edit)
            if output is None:
                return None
            async with self._slots:
                return await asyncio.to_thread(survival, output, edit.text or "")

    async def _find(self, edit: Feedback) -> str | None:
        place = (day_of(edit.generation), edit.generation, edit.tenant)
        async with self._slots, self._pool.connection() as conn:
            cursor = await conn.execute(OUTPUT, place)
            row = await cursor.fetchone()
        return row[0] if row else None
