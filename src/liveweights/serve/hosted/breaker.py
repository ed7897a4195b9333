"""When an upstream that fails is left alone for a while: a circuit breaker (Nygard, Release It!,
chapter 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

FAILURES = 5
"""In a row. Fewer would shut a model out for one bad moment, and with more, as many requests wait
for a time-out before its fallback answers."""
PAUSE = 10.0
"""Seconds: about as long as a server takes to start again, and a limit per minute to come back in
part."""
LONGEST_PAUSE = 120.0
"""Seconds, so that an upstream that is back is found within two minutes."""


@dataclass(slots=True)
class Breaker:
    """Times are in seconds on any clock that does not go back."""

    failures: int = 0
    """In a row."""
    until: float = -math.inf
    """While it is open: when a trial may be made."""
    pause: float = 0.0
    """Of the last time that it opened; 0 while it is closed."""
    trying: bool = False
    """Whether the one trial is under way."""

    def admits(self, now: float) -> bool:
        """Whether the upstream may be asked."""
        return not self.pause or (now >= self.until and not self.trying)

    def wait(self, now: float) -> float:
        """Seconds until it may be asked again."""
        return max(0.0, self.until - now) if self.pause else 0.0

    def begin(self) -> bool:
        """It is asked. Whether that is the trial, which has to end as one of the three below."""
        if self.pause:
            self.trying = True
        return bool(self.pause)

    def succeeded(self) -> None:
        """It has begun to answer: closed again, whoever asked."""
        self.failures, self.pause, self.trying = 0, 0.0, False

    def failed(self, now: float, *, trial: bool) -> None:
        """What was asked before it opened changes nothing any more."""
        if trial and self.trying:
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
            self.until, self.trying = now + self.pause, False
        elif not self.pause:
            self.failures += 1
            if self.failures >= FAILURES:
                self.pause, self.until = PAUSE, now + PAUSE

    def left(self, *, trial: bool) -> None:
        """The caller went away before it was known: another may try."""
        if trial:
            self.trying = False
