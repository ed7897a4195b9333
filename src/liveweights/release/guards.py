"""What a canary must not break while its reward is looked at: errors, latency, habits."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from liveweights.gate.evalues import FloatArray, wealth
from liveweights.gate.monitors import measure_habits
from liveweights.gate.settings import GateSettings
from liveweights.release.canary import Arm, Reward, compare, iter_units
from liveweights.release.settings import CanarySettings

BoolArray = npt.NDArray[np.bool_]


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


class Answers:
    """Answers of both arms as guards look at them: numbers, however long they were."""

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self._names: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}
        self._sessions = array("q")
        self._columns: dict[str, array[float]] = {
            name: array(kind)
            for name, kind in (
                *(("canary", "b"), ("failed", "b"), ("cancelled", "b"), ("visible", "b")),
                *(("at", "d"), ("seconds", "d"), ("length", "q"), ("repetition", "d")),
            )
        }
        for answer in answers:
            self.add(answer)

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, answer: Answer) -> None:
        if answer.session not in self._numbers:
            self._numbers[answer.session] = len(self._names)
            self._names.append(answer.session)
        self._sessions.append(self._numbers[answer.session])
        visible = bool(answer.text.strip())
        said = {
            "canary": answer.arm == "canary",
            "failed": answer.failed,
            "cancelled": answer.cancelled,
            "visible": visible,
            "at": answer.at,
            "seconds": answer.seconds,
            "length": len(answer.text),
            "repetition": measure_habits([answer.text]).repetition if visible else 0.0,
        }
        for name, value in said.items():
            self._columns[name].append(value)

    def column(self, name: str) -> FloatArray:
        """Of all answers, in the order in which they were told."""
        return np.array(self._columns[name], dtype=np.float64)

    def earned(self, place: int, value: float, at: float) -> Reward:
        """What the answer of that place earned, and when that counts."""
        arm: Arm = "canary" if self._columns["canary"][place] else "live"
        session = self._names[self._sessions[place]]
        return Reward(arm, session, value, at)

    def said(
        self, places: Iterable[int], values: FloatArray
    ) -> Iterator[tuple[Arm, int | None, float, float]]:
        """For `iter_units`."""
        canary, at = self._columns["canary"], self._columns["at"]
        for place in places:
            arm: Arm = "canary" if canary[place] else "live"
            yield arm, self._sessions[place] or None, float(values[place]), at[place]


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
    answers: Answers, now: float, settings: CanarySettings, bounds: GateSettings
) -> tuple[Guard, ...]:
    """Each guard after all answers so far; it may be looked at as often as one likes.

    The bounds on habits are the gate's. The chance that any of them ever breaks for a canary
    within all bounds is ``guard_alpha`` (Ville's inequality, and Bonferroni over the guards).
    """
    failed, cancelled = answers.column("failed") > 0, answers.column("cancelled") > 0
    of_canary, seconds = answers.column("canary") > 0, answers.column("seconds")
    whole = ~failed & ~cancelled
    visible = whole & (answers.column("visible") > 0)
    # A client that left had waited all the same.
    timed = ~failed & (seconds > 0)
    order = np.argsort(answers.column("at"), kind="stable")
    single: CanarySettings = msgspec.structs.replace(settings, unit="reward")
    ratio, times = settings.max_latency_ratio, bounds.max_length_ratio

    def differences(
        of: BoolArray, values: FloatArray, how: CanarySettings
    ) -> tuple[FloatArray, float | None, float | None]:
        sides = (values[of & of_canary], values[of & ~of_canary])
        ours, theirs = (float(np.mean(side)) if len(side) else None for side in sides)
        said = answers.said(order[of[order]], values)
        return compare(iter_units(said, now, how)), ours, theirs

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
    gaps, ours, theirs = differences(~cancelled, failed.astype(np.float64), single)
    add(
        "errors",
        wealth(gaps, settings.max_error_rise, 1.0),
        ours=ours,
        theirs=theirs,
        bound=f"a rise of {settings.max_error_rise:.1%} is allowed",
    )
    gaps, ours, theirs = differences(timed, _log(seconds, timed), settings)
    add(
        "latency",
        _beyond(gaps, math.log(ratio)),
        ours=_exp(ours),
        theirs=_exp(theirs),
        bound=f"{ratio:g} times as long is allowed",
    )
    gaps, ours, theirs = differences(whole, (~visible).astype(np.float64), settings)
    add(
        "silence",
        wealth(gaps, bounds.max_withheld, 1.0),
        ours=ours,
        theirs=theirs,
        bound=f"a rise of {bounds.max_withheld:.0%} is allowed",
    )
    gaps, ours, theirs = differences(visible, _log(answers.column("length"), visible), settings)
    add(
        "length",
        np.logaddexp(_beyond(gaps, math.log(times)), _beyond(-gaps, math.log(times))) - math.log(2),
        ours=_exp(ours),
        theirs=_exp(theirs),
        bound=f"{times:g} times as long or short is allowed",
    )
    gaps, ours, theirs = differences(visible, answers.column("repetition"), settings)
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


def _log(values: FloatArray, of: BoolArray) -> FloatArray:
    """Natural logarithms of those; 0 for all others."""
    return np.log(values, out=np.zeros_like(values), where=of)


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _say(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3g}"
