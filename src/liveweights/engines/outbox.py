"""Hands what a thread makes to those who wait for it in event loops."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """Collects items, each for a queue of an event loop, until ``flush``.

    To wake a loop costs a system call, and what woke then takes the interpreter from the thread
    that has more to do: for the answers of a batch it is done once. Used from one thread; the
    queues are read in their loops.
    """

    def __init__(self) -> None:
        self._held: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[T], T]]] = {}

    def put(self, loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[T], item: T) -> None:
        """Keep ``item`` for ``queue``, which is read in ``loop``."""
        self._held.setdefault(loop, []).append((queue, item))

    def flush(self) -> None:
        """Hand over what was kept. Of a loop that was closed nobody waits."""
        held, self._held = self._held, {}
        for loop, items in held.items():
            with suppress(RuntimeError):  # it is closed, or was in this moment
                loop.call_soon_threadsafe(_hand_over, items)


def _hand_over(items: list[tuple[asyncio.Queue[T], T]]) -> None:
    for queue, item in items:
        queue.put_nowait(item)
