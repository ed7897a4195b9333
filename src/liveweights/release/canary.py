"""An anytime-valid comparison of canary and live: it may be looked at after every reward."""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from liveweights.gate.evalues import FloatArray, interval, wealth
from liveweights.release.settings import CanarySettings

Arm = Literal["canary", "live"]


@dataclass(frozen=True, slots=True)
class Reward:
    """What one answer earned, ``at`` seconds after the canary began."""

    arm: Arm
    session: str | None
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Unit:
    """One independent case: the mean reward of a session, or one reward."""

    arm: Arm
    value: float


class CanaryNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """What a promotion is decided from. ``worse`` and ``not_worse`` are the largest e-values so
    far against "the canary is as good" and against "it is worse by the margin"; ``needed`` is
    1 / alpha. ``low`` and ``high`` are a confidence sequence for the mean difference. The means and
    their ``difference`` are of all sessions as far as they were in each arm: those that a step
    moved foretell what comes, which spoils a proof, and no estimate."""

    canary_rewards: int
    live_rewards: int
    canary_units: int
    live_units: int
    comparisons: int
    canary_mean: float | None
    live_mean: float | None
    difference: float | None
    low: float
    high: float
    worse: float
    not_worse: float
    needed: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the rewards say: which hypothesis fell first, if one did; and whether the time or the
    rewards in which it has to be decided are used up. ``log_wealth`` are the natural logarithms of
    both e-values after each comparison: that it is worse, and that it is not."""

    proof: Literal["worse", "not worse"] | None
    at_limit: bool
    numbers: CanaryNumbers
    log_wealth: tuple[tuple[float, float], ...] = ()


def compare_arms(
    rewards: Sequence[Reward],
    now: float,
    settings: CanarySettings,
    *,
    seconds: float | None = None,
) -> Comparison:
    """Compare from all rewards since the canary began, ``now`` seconds ago; ``seconds`` of them,
    all by default, count for the limit.

    Sessions are randomised to the arms. Each closed session is one unit; a unit is compared with
    the units of the other arm that closed since the last comparison, which gives differences in
    [-w, w], w = highest - lowest, whose conditional mean is the difference of the arms. Wealth
    from betting against a hypothesis about that mean is a test martingale (Waudby-Smith & Ramdas
    2024, "Estimating means of bounded random variables by betting", sections 4 and B.6: constant
    bets, averaged), so by Ville's inequality it ever exceeds 1 / alpha with chance alpha at most.

    "worse" when "the canary is as good" is rejected, "not worse" when "the canary is worse by the
    margin" is; whichever came first, "worse" if both came at once. At the limit the sessions that
    are still open count as they are.

    A reward beyond lowest or highest counts as that.
    """
    rewards = [_within(reward, settings) for reward in rewards]
    seconds = now if seconds is None else seconds
    of_canary = sum(reward.arm == "canary" for reward in rewards)
    enough = of_canary >= settings.min_rewards
    at_limit = (
        of_canary >= settings.max_rewards
        or (enough and seconds >= settings.max_seconds)
        or seconds >= max(settings.max_seconds, settings.longest_seconds)
    )
    units = count_units(rewards, math.inf if at_limit else now, settings)
    differences_K = compare(units)
    width = settings.highest - settings.lowest
    worse_K = wealth(-differences_K, 0.0, width)
    not_worse_K = wealth(differences_K, -settings.margin, width)
    numbers = _numbers(
        rewards,
        units,
        differences_K=differences_K,
        worse_K=worse_K,
        not_worse_K=not_worse_K,
        seconds=now,
        settings=settings,
    )
    never, threshold = len(differences_K), -math.log(settings.alpha)
    worse_at, not_worse_at = _first(worse_K, threshold), _first(not_worse_K, threshold)
    path = tuple(zip(worse_K.tolist(), not_worse_K.tolist(), strict=True))
    if worse_at < never and worse_at <= not_worse_at:
        return Comparison("worse", at_limit, numbers, path)
    return Comparison("not worse" if not_worse_at < never else None, at_limit, numbers, path)


def _within(reward: Reward, settings: CanarySettings) -> Reward:
    return replace(reward, value=min(max(reward.value, settings.lowest), settings.highest))


def count_units(rewards: Sequence[Reward], now: float, settings: CanarySettings) -> list[Unit]:
    """The closed units in the order in which they closed; later rewards never change them.

    A session closes with its ``session_rewards``-th reward or after ``session_idle`` seconds
    without one; what comes afterwards is not counted. Without a session a reward is a unit.
    A session that a step moved from one arm to the other counts in the first only: what it said
    there would foretell the rest.
    """
    said = ((r.arm, r.session, r.value, r.at) for r in sorted(rewards, key=lambda r: r.at))
    return list(iter_units(said, now, settings))


@dataclass(slots=True)
class _Open:
    """A session that has not closed yet."""

    arm: Arm
    total: float
    count: int
    last: float


def iter_units(
    said: Iterable[tuple[Arm, Hashable, float, float]], now: float, settings: CanarySettings
) -> Iterator[Unit]:
    """As `count_units` has it, from (arm, session, value, at) in the order of ``at``, each of which
    is looked at once and let go."""
    open_sessions: dict[Hashable, _Open] = {}
    done: set[Hashable] = set()
    arms: dict[Hashable, Arm] = {}
    closed_at, values, of_canary = array("d"), array("d"), bytearray()

    def note(arm: Arm, value: float, at: float) -> None:
        closed_at.append(at)
        values.append(value)
        of_canary.append(arm == "canary")

    def close(key: Hashable, at: float) -> None:
        session = open_sessions.pop(key)
        done.add(key)
        note(session.arm, session.total / session.count, at)

    for arm, key, value, at in said:
        if settings.unit == "reward" or key is None:
            note(arm, value, at)
            continue
        if arms.setdefault(key, arm) != arm:
            continue
        session = open_sessions.get(key)
        if session and at - session.last > settings.session_idle:
            close(key, session.last + settings.session_idle)
        if key in done:
            continue
        session = open_sessions.setdefault(key, _Open(arm, 0.0, 0, at))
        session.total += value
        session.count += 1
        session.last = at
        if session.count == settings.session_rewards:
            close(key, at)
    for key, session in list(open_sessions.items()):
        if now - session.last > settings.session_idle:
            close(key, session.last + settings.session_idle)
    for place in np.argsort(np.array(closed_at), kind="stable"):
        yield Unit("canary" if of_canary[place] else "live", values[place])


def mean_of(rewards: Sequence[Reward], arm: Arm, settings: CanarySettings) -> float | None:
    """Mean over the sessions of an arm of what they said in it; without sessions, or where each
    reward is a unit, over its rewards. None: there are none."""
    sessions: dict[object, list[float]] = {}
    for place, reward in enumerate(rewards):
        if reward.arm == arm:
            alone = settings.unit == "reward" or reward.session is None
            sessions.setdefault(place if alone else reward.session, []).append(reward.value)
    means = [sum(values) / len(values) for values in sessions.values()]
    return sum(means) / len(means) if means else None


def compare(units: Iterable[Unit]) -> FloatArray:
    """Differences canary minus live, each of means of units since the last one (shape K)."""
    totals: dict[Arm, float] = {"canary": 0.0, "live": 0.0}
    counts: dict[Arm, int] = {"canary": 0, "live": 0}
    differences = array("d")
    for unit in units:
        totals[unit.arm] += unit.value
        counts[unit.arm] += 1
        ours, theirs = counts["canary"], counts["live"]
        if ours and theirs:
            differences.append(totals["canary"] / ours - totals["live"] / theirs)
            totals, counts = {"canary": 0.0, "live": 0.0}, {"canary": 0, "live": 0}
    return np.array(differences, dtype=np.float64)


def _first(log_wealth_K: FloatArray, threshold: float) -> int:
    above = np.flatnonzero(log_wealth_K >= threshold)
    return int(above[0]) if len(above) else len(log_wealth_K)


def _numbers(
    rewards: Sequence[Reward],
    units: Sequence[Unit],
    *,
    differences_K: FloatArray,
    worse_K: FloatArray,
    not_worse_K: FloatArray,
    seconds: float,
    settings: CanarySettings,
) -> CanaryNumbers:
    canary, live = mean_of(rewards, "canary", settings), mean_of(rewards, "live", settings)
    compared = sum(unit.arm == "canary" for unit in units)
    low, high = interval(differences_K, settings.alpha, settings.highest - settings.lowest)
    counted = sum(reward.arm == "canary" for reward in rewards)
    return CanaryNumbers(
        canary_rewards=counted,
        live_rewards=len(rewards) - counted,
        canary_units=compared,
        live_units=len(units) - compared,
        comparisons=len(differences_K),
        canary_mean=canary,
        live_mean=live,
        difference=None if canary is None or live is None else canary - live,
        low=low,
        high=high,
        worse=_largest(worse_K),
        not_worse=_largest(not_worse_K),
        needed=1 / settings.alpha,
        seconds=seconds,
    )


def _largest(log_wealth_K: FloatArray) -> float:
    # Capped so that JSON can hold it.
    return math.exp(min(700.0, float(log_wealth_K.max()))) if len(log_wealth_K) else 1.0
