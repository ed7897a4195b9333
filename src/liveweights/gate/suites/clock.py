"""The time that one attempt has: what it waits for that is not the model's does not count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Clock:
    """Runs from now on; ``patience``, which is entered before it is stopped, ends with it."""

    def __init__(self, patience: asyncio.Timeout) -> None:
        self._patience = patience
        self._began = time.monotonic()
        self._left: float | None = None
        self._stopped = 0
        self._since = 0.0
        self._given = 0.0
        """Until when everything has been counted or not: nothing is given back twice."""
        self._uncounted = 0.0
        self._over = False

    @property
    def seconds(self) -> float:
        """What counted until now."""
        return time.monotonic() - self._began - self._uncounted

    def stop(self, back: float) -> None:
        """Until as many `go` as there were stops; the ``back`` seconds before do not count."""
        self._stopped += 1
        when = self._patience.when()
        if self._stopped > 1 or when is None or self._over or self._patience.expired():
            return
        now = time.monotonic()
        self._since = max(now - back, self._given)
        self._left = when - asyncio.get_running_loop().time() + now - self._since
        self._patience.reschedule(None)

    def go(self) -> None:
        self._stopped -= 1
        if self._stopped or self._left is None or self._over:
            return
        self._given = time.monotonic()
        self._uncounted += self._given - self._since
        self._patience.reschedule(asyncio.get_running_loop().time() + self._left)
        self._left = None

    def end(self) -> None:
        """What goes on after the attempt changes nothing any more."""
        self._over = True


_clock: ContextVar[Clock | None] = ContextVar("clock", default=None)


@contextmanager
def running(clock: Clock) -> Generator[None]:
    """The clock of an attempt, for what it calls and the tasks that it starts."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        clock.end()
        _clock.reset(token)


@contextmanager
def off_the_clock(back: float = 0.0) -> Generator[None]:
    """Time that does not count, with the ``back`` seconds before; without effect where no clock
    runs."""
    clock = _clock.get()
    if clock is None:
        yield
        return
    clock.stop(back)
    try:
        yield
    finally:
        clock.go()
