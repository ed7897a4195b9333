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
    """What there is since the last cycle: answers with new feedback that carries a reward, those
    that it had no room for among them; chat answers whose session went on (which may say something
    of them); and the seconds since it began and since it ended. Both counts may stop at what
    decides whether the next begins."""

    judged: int
    followed: int
    since_start: float
    since_end: float


@dataclass(frozen=True, slots=True)
class Start:
    """Whether a cycle begins now, and in words what it waits for; empty where it begins."""

    is_due: bool
    waits_for: str = ""


def rest_after(settings: CycleSettings, pause: int) -> float:
    """Seconds for which a cycle has to be over before the next; ``pause`` is a factor on them, as
    long as they are below ``every``."""
    return max(settings.rest, min(settings.rest * pause, settings.every))


def decide_start(
    news: News,
    settings: CycleSettings,
    *,
    pause: int = 1,
    wanted: int = 0,
    follow_ups: bool = False,
) -> Start:
    """Whether a new cycle begins: enough reactions, or any at all and it is time; never before the
    last one has been over for a while, however much comes in.

    ``pause`` is for `rest_after`; without ``wanted``
    reactions, with ``follow_ups`` also those that a chat's next message may be, the time is no
    reason to begin (see ``attempt``).
    """
    rest = rest_after(settings, pause)
    if news.since_end < rest:
        return Start(False, f"{rest - news.since_end:.0f} s of rest after the last cycle")
    if news.judged >= settings.min_feedback:
        return Start(True)
    if _is_short(news, settings, wanted, follow_ups):
        least = max(1, min(wanted, settings.min_feedback))
        what = "new feedback or a next message" if follow_ups else "new feedback"
        have = news.judged + news.followed if follow_ups else news.judged
        return Start(False, f"{least} answers with {what} ({have} since the last cycle began)")
    early = f"or {settings.min_feedback} before its time"
    have = f"{news.judged} since the last cycle began"
    if news.since_start < settings.every:
        left = settings.every - news.since_start
        return Start(False, f"its time, in {left:.0f} s, {early} ({have})")
    return Start(True)


def due_in(
    news: News,
    settings: CycleSettings,
    *,
    pause: int = 1,
    wanted: int = 0,
    follow_ups: bool = False,
) -> float | None:
    """Seconds until a cycle begins if nothing more is said (see ``decide_start``); None where it
    waits for feedback."""
    rest = rest_after(settings, pause)
    left = max(0.0, rest - news.since_end)
    if news.judged >= settings.min_feedback:
        return left
    if _is_short(news, settings, wanted, follow_ups):
        return None
    return max(left, settings.every - news.since_start)


def _is_short(news: News, settings: CycleSettings, wanted: int, follow_ups: bool) -> bool:
    """Whether time alone is no reason to begin."""
    said = news.judged + news.followed
    counted = said if follow_ups else news.judged
    return said == 0 or counted < min(wanted, settings.min_feedback)
