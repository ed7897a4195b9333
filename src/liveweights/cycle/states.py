"""The states of a cycle and what may follow what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liveweights.cycle.settings import CycleSettings

State = Literal["claiming", "learning", "calibrating", "warming", "gating", "canary", "ended"]
Outcome = Literal[
    "promoted", "rejected", "rolled_back", "no_signal", "failed", "restarted", "cancelled"
]
"""``restarted``: a user whose rows it had read was forgotten; the next one reads the others.
``cancelled``: somebody said so."""
BROKEN_OFF = ("restarted", "cancelled")
"""Ends that others than the worker decide: what was begun is taken back."""

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


@dataclass(frozen=True, slots=True)
class Start:
    """Whether a cycle begins now, and in words what it waits for; empty where it begins."""

    is_due: bool
    waits_for: str = ""


def decide_start(news: News, settings: CycleSettings, *, pause: int = 1, wanted: int = 0) -> Start:
    """Whether a new cycle begins: enough reactions, or any at all and it is time; never before the
    last one has been over for a while, however much comes in.

    ``pause`` is a factor on that while, as long as it is below ``every``; without ``wanted``
    reactions the time is no reason to begin (see ``attempt``).
    """
    rest = max(settings.rest, min(settings.rest * pause, settings.every))
    if news.since_end < rest:
        return Start(False, f"{rest - news.since_end:.0f} s of rest after the last cycle")
    if news.judged >= settings.min_feedback:
        return Start(True)
    wanted = min(wanted, settings.min_feedback)
    have = f"{news.judged} since the last cycle began"
    early = f"or {settings.min_feedback} before its time"
    if news.judged + news.followed == 0 or news.judged < wanted:
        return Start(False, f"{max(1, wanted)} answers with new feedback ({have})")
    if news.since_start < settings.every:
        left = settings.every - news.since_start
        return Start(False, f"its time, in {left:.0f} s, {early} ({have})")
    return Start(True)


def due_in(news: News, settings: CycleSettings, *, pause: int = 1, wanted: int = 0) -> float | None:
    """Seconds until a cycle begins if nothing more is said (see ``decide_start``); None where it
    waits for feedback."""
    rest = max(settings.rest, min(settings.rest * pause, settings.every))
    left = max(0.0, rest - news.since_end)
    if news.judged >= settings.min_feedback:
        return left
    if news.judged + news.followed == 0 or news.judged < min(wanted, settings.min_feedback):
        return None
    return max(left, settings.every - news.since_start)
