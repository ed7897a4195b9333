"""The states of a cycle and what may follow what. Pure."""

from __future__ import annotations

from typing import Literal

State = Literal["claiming", "learning", "warming", "gating", "canary", "ended"]
Outcome = Literal["promoted", "rejected", "rolled_back", "no_signal", "failed"]

FOLLOWING: dict[State, frozenset[State]] = {
    "claiming": frozenset({"learning", "ended"}),
    "learning": frozenset({"warming", "ended"}),
    "warming": frozenset({"gating", "ended"}),
    "gating": frozenset({"canary", "ended"}),
    "canary": frozenset({"ended"}),
    "ended": frozenset(),
}


class IllegalTransition(ValueError):
    """A cycle cannot go from the one state to the other."""


def check(before: State, after: State) -> None:
    """Raises IllegalTransition."""
    if after not in FOLLOWING[before]:
        allowed = ", ".join(sorted(FOLLOWING[before])) or "nothing"
        raise IllegalTransition(f"a cycle goes from {before} to {allowed}, not to {after}")


def is_due(unread: int, seconds_since: float, every: float, min_feedback: int) -> bool:
    """Whether a new cycle starts: enough feedback, or any at all and it is time."""
    return unread >= min_feedback or (unread > 0 and seconds_since >= every)
