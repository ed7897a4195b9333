"""A look at something that many may ask for, and that costs the same for one as for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Glance(Generic[T]):
    """What ``look`` found, at most ``seconds`` ago. Who asks while it looks waits for the same
    look; one that failed is not kept. For use from one event loop."""

    def __init__(self, look: Callable[[], Awaitable[T]], seconds: float = 1.0) -> None:
        self._look = look
        self._seconds = seconds
        self._looking: asyncio.Future[T] | None = None
        self._until = 0.0

    async def __call__(self) -> T:
        """Raises what ``look`` does."""
        loop = asyncio.get_running_loop()
        looking = self._looking
        if looking is None or (looking.done() and (loop.time() >= self._until or _failed(looking))):
            looking = self._looking = asyncio.ensure_future(self._look())
            looking.add_done_callback(_failed)  # has been looked at, should nobody wait any more
            looking.add_done_callback(lambda _: self._keep(loop.time()))
        return await asyncio.shield(looking)

    def _keep(self, now: float) -> None:
        self._until = now + self._seconds


def _failed(looking: asyncio.Future[T]) -> bool:
    return looking.cancelled() or looking.exception() is not None
