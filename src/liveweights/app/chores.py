"""Work that runs for models beside everything else, one piece for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

log = logging.getLogger(__name__)


class Chores:
    """By the model's name, until it has ended; then ``ended`` is called."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._tasks.values())

    async def end(self, name: str) -> None:
        """Cancel what runs for the model, and return when it has ended."""
        if (task := self._tasks.get(name)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """There is none for the model now."""
        task = self._tasks[name] = asyncio.create_task(work)

        def done(task: asyncio.Task[None]) -> None:
            del self._tasks[name]
            self._ended()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("what ran for the model %s did not end well", name, exc_info=error)

        task.add_done_callback(done)
