"""Bounds on what a computation takes: of the processor's time, not of the clock's, so wide that no
machine is too slow, and so that what is quadratic in long texts is ended and not waited for."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class TooMuch(Exception):
    """It took more."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TooMuch once the processor has worked for so many seconds. In the main thread only;
    regular expressions are broken off, too."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise TooMuch(f"it takes more than {seconds} s of the processor")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def python_calls(work: Callable[[], object]) -> int:
    """Functions written in Python that ``work`` calls, and steps of generators."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
