"""How long a service that is away is left alone."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 0.5, 15.0


@dataclass(slots=True)
class Pauses:
    """Seconds, twice as many after each failure, up to ``LONGEST``."""

    next: float = FIRST

    def fail(self) -> float:
        """How long to wait now."""
        pause, self.next = self.next, min(LONGEST, 2 * self.next)
        return pause

    def succeed(self) -> None:
        self.next = FIRST
