"""How often to ask what may take long."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

SHARE = 1 / 20
"""Of all time that may be spent asking."""


@dataclass(slots=True)
class Pace:
    """After each question a pause, the longer the longer it took; ``clock`` is in seconds."""

    clock: Callable[[], float] = time.monotonic
    _next: float | None = None

    def is_time(self) -> bool:
        return self._next is None or self.clock() >= self._next

    @contextmanager
    def asking(self) -> Generator[None]:
        """Around the question."""
        began = self.clock()
        try:
            yield
        finally:
            ended = self.clock()
            self._next = ended + (ended - began) * (1 / SHARE - 1)
