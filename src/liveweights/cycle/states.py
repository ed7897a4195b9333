"""The states of a cycle and what may follow what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liveweights.cycle.settings import CycleSettings

State = Literal["claiming", "learning", "calibrating", "warming", "gating", "canary", "ended"]
Outcome = Literal["promoted", "rejected", "rolled_back", "no_signal", "failed", "restarted"]
"""``restarted``: a user whose rows it had read was forgotten; the next one reads the others."""

FOLLOWING: dict[State, frozenset[State]] = {
    "claiming": frozenset({"learning", "ended"}),
    "learning": frozenset({"calibrating", "ended"}),
    "calibrating": frozenset({"warming", "ended"}),
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


@dataclass(frozen=True, slots=True)
class News:
    """What there is since the last cycle: answers with new feedback that carries a reward, chat
    answers whose session went on (which may say something of them), and the seconds since it
    began and since it ended."""

    judged: int
    followed: int
    since_start: float
    since_end: float


def is_due(news: News, settings: CycleSettings) -> bool:
    """Whether a new cycle starts: enough reactions, or any at all and it is time; never before the
    last one has been over for a while, however much comes in."""
    if news.since_end < settings.rest:
        return False
    if news.judged >= settings.min_feedback:
        return True
    return news.judged + news.followed > 0 and news.since_start >= settings.every
