"""How often a part of the service may die before the whole of it gives up."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.child import describe

QUICK = 30.0
"""Seconds: a part that dies sooner after it was ready has died quickly."""
SLOW = 600.0
"""Seconds within which a part that is never ready has died quickly: a start may take long."""
MOST = 5
"""Quick deaths in a row after which a part is not started again."""
FIRST, LONGEST = 0.2, 10.0
"""Pauses, in seconds, before a part is started again: doubled from death to death."""
PERMANENT = 78
"""Exit code (sysexits.h: EX_CONFIG) of what would be the same at every start."""
AWAY = 75
"""Exit code (EX_TEMPFAIL) of what waits for what passes by itself: tried again for ever."""


class GaveUp(RuntimeError):
    """A part of the service does not stay alive; the message says which, how often and why.

    ``permanent``: it would be the same at every start, until somebody mends it."""

    def __init__(self, why: str, *, permanent: bool = False) -> None:
        super().__init__(why)
        self.permanent = permanent


@dataclass(slots=True)
class Restarts:
    """What to do about one part's deaths."""

    quick: int = 0
    pause: float = FIRST

    def after(self, code: int, lived: float, ready: float | None) -> float | None:
        """Seconds to wait before it is started again; None to give up.

        ``code`` is the process's exit code (negative: the signal that killed it), ``lived`` how
        many seconds it did, ``ready`` for how many of them it was ready, None if it never was.
        """
        if code == PERMANENT:
            return None
        if code == AWAY:
            pass
        elif lived < SLOW if ready is None else ready < QUICK:
            self.quick += 1
            if self.quick >= MOST:
                return None
        else:
            self.quick, self.pause = 0, FIRST
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST)
        return pause


def explain(role: str, code: int, reason: str) -> str:
    """Why a part is not started again."""
    if code == PERMANENT:
        return reason
    why = f": {reason}" if reason else ""
    return (
        f"{role} ended {MOST} times in a row, each time before it was ready or within {QUICK:.0f} s"
        f" of it, the last time with {describe(code)}{why}"
    )
