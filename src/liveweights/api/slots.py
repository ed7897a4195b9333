"""A bounded number of answers at once, and a bounded queue in front of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class QueueFull(RuntimeError):
    """So many wait already that another one would wait too long."""


class Slots:
    """First come, first served, for use from one event loop."""

    def __init__(self, size: int, queue: int) -> None:
        self.size = size
        self.queue = queue
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def running(self) -> int:
        """Slots in use."""
        return self.size - self._free

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, wanted: int, *, patient: bool = False) -> AsyncGenerator[None]:
        """Hold ``wanted`` slots, or all if there are fewer. Raises QueueFull, unless ``patient``:
        then it waits behind a full queue too."""
        count = min(wanted, self.size)
        if self._waiting or self._free < count:
            if len(self._waiting) >= self.queue and not patient:
                raise QueueFull(f"{len(self._waiting)} requests are waiting")
            await self._wait(count)
        else:
            self._free -= count
        try:
            yield
        finally:
            self._give_back(count)

    async def _wait(self, count: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (count, turn)
        self._waiting.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was granted at the same moment
                self._give_back(count)
            elif place in self._waiting:
                self._waiting.remove(place)
                self._grant()
            raise

    def _give_back(self, count: int) -> None:
        self._free += count
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            count, turn = self._waiting[0]
            if turn.done():  # cancelled; its task has not noticed yet
                self._waiting.popleft()
            elif count <= self._free:
                self._waiting.popleft()
                self._free -= count
                turn.set_result(None)
            else:
                return
