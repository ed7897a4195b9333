"""What a canary must not break while its reward is looked at: errors, latency, habits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from liveweights.gate.evalues import FloatArray, wealth
from liveweights.gate.monitors import measure_habits
from liveweights.gate.settings import GateSettings
from liveweights.release.canary import Arm, Reward, compare, count_units
from liveweights.release.settings import CanarySettings


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, ``at`` seconds after the comparison began. ``seconds`` is what it took."""

    arm: Arm
    session: str | None
    at: float
    failed: bool
    cancelled: bool
    seconds: float
    text: str


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """One bound: means of both arms, and the e-value against "the canary keeps within it".

    Latency and length are geometric means, in seconds and characters.
    """

    name: str
    canary: float | None
    live: float | None
    comparisons: int
    e_value: float
    needed: float
    bound: str

    @property
    def broken(self) -> bool:
        return self.e_value >= self.needed

    def describe(self) -> str:
        return (
            f"{self.name}: {_say(self.live)} live, {_say(self.canary)} canary;"
            f" {self.bound} (e-value {self.e_value:.3g} after {self.comparisons} comparisons,"
            f" needs {self.needed:g})"
        )


def watch_answers(
    answers: Sequence[Answer], now: float, settings: CanarySettings, bounds: GateSettings
) -> tuple[Guard, ...]:
    """Each guard after all answers so far; it may be looked at as often as one likes.

    The bounds on habits are the gate's. The chance that any of them ever breaks for a canary
    within all bounds is ``guard_alpha`` (Ville's inequality, and Bonferroni over the guards).
    """
    whole = [a for a in answers if not a.failed and not a.cancelled]
    visible = [a for a in whole if a.text.strip()]
    # A client that left had waited all the same.
    timed = [a for a in answers if not a.failed and a.seconds > 0]
    single: CanarySettings = msgspec.structs.replace(settings, unit="reward")
    ratio, times = settings.max_latency_ratio, bounds.max_length_ratio

    def differences(
        of: Sequence[Answer], value: Callable[[Answer], float], how: CanarySettings
    ) -> tuple[FloatArray, float | None, float | None]:
        values = [Reward(a.arm, a.session, value(a), a.at) for a in of]
        sides = {arm: [v.value for v in values if v.arm == arm] for arm in ("canary", "live")}
        ours, theirs = (float(np.mean(side)) if side else None for side in sides.values())
        return compare(count_units(values, now, how)), ours, theirs

    guards: list[Guard] = []

    def add(
        name: str, log_wealth_K: FloatArray, *, ours: float | None, theirs: float | None, bound: str
    ) -> None:
        largest = float(log_wealth_K.max()) if len(log_wealth_K) else 0.0
        guards.append(
            Guard(
                name=name,
                canary=ours,
                live=theirs,
                comparisons=len(log_wealth_K),
                e_value=math.exp(min(700.0, largest)),
                needed=COUNT / settings.guard_alpha,
                bound=bound,
            )
        )

    # A failure is the engine's, not the session's: every answer counts by itself, at once.
    gaps, ours, theirs = differences(
        [a for a in answers if not a.cancelled], lambda a: float(a.failed), single
    )
    add(
        "errors",
        wealth(gaps, settings.max_error_rise, 1.0),
        ours=ours,
        theirs=theirs,
        bound=f"a rise of {settings.max_error_rise:.1%} is allowed",
    )
    gaps, ours, theirs = differences(timed, lambda a: math.log(a.seconds), settings)
    add(
        "latency",
        _beyond(gaps, math.log(ratio)),
        ours=_exp(ours),
        theirs=_exp(theirs),
        bound=f"{ratio:g} times as long is allowed",
    )
    gaps, ours, theirs = differences(whole, lambda a: float(not a.text.strip()), settings)
    add(
        "silence",
        wealth(gaps, bounds.max_withheld, 1.0),
        ours=ours,
        theirs=theirs,
        bound=f"a rise of {bounds.max_withheld:.0%} is allowed",
    )
    gaps, ours, theirs = differences(visible, lambda a: math.log(len(a.text)), settings)
    add(
        "length",
        np.logaddexp(_beyond(gaps, math.log(times)), _beyond(-gaps, math.log(times))) - math.log(2),
        ours=_exp(ours),
        theirs=_exp(theirs),
        bound=f"{times:g} times as long or short is allowed",
    )
    gaps, ours, theirs = differences(
        visible, lambda a: measure_habits([a.text]).repetition, settings
    )
    add(
        "repetition",
        wealth(gaps, bounds.max_repetition_rise, 1.0),
        ours=ours,
        theirs=theirs,
        bound=f"a rise of {bounds.max_repetition_rise:.0%} is allowed",
    )
    return tuple(guards)


COUNT = 5
"""How many guards there are."""


def pair(live: Answer, shadow: Answer) -> tuple[Answer, Answer]:
    """A request's two answers as one comparison of their own."""
    return replace(live, session=None), replace(shadow, session=None, at=live.at)


def _beyond(differences_K: FloatArray, bound: float) -> FloatArray:
    """Log wealth against "a difference is beyond ``bound`` in at most half of the comparisons".

    A bet on signs: it needs no scale, and one answer that took for ever is one answer.
    """
    return wealth(np.where(differences_K > bound, 1.0, -1.0), 0.0, 1.0)


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _say(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3g}"
