"""Statistics of suggestions: rates with intervals, and two checkpoints on the same positions.

Positions of one file are not independent, so the intervals are the gate's: cluster-robust errors by
the delete-one-file jackknife, and the t distribution with one degree of freedom fewer than files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from liveweights.gate import statistics
from liveweights.gate.distributions import student_quantile
from liveweights.gate.statistics import clustered_error, group
from liveweights.replay.developer import Outcome
from liveweights.replay.settings import Rewards

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its confidence interval; all three are NaN where data says nothing."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN."""
        return {"mean": _finite(self.mean), "low": _finite(self.low), "high": _finite(self.high)}


@dataclass(frozen=True, slots=True)
class Score:
    """What one checkpoint did at some positions."""

    checkpoint: str
    positions: int
    shown: int
    accepted: int
    accept_rate: Estimate
    """Accepted by shown."""
    reward: Estimate
    """Mean reward per position."""

    def as_dict(self) -> dict[str, object]:
        return {
            "checkpoint": self.checkpoint,
            "positions": self.positions,
            "shown": self.shown,
            "accepted": self.accepted,
            "accept_rate": _finite(self.accept_rate.mean),
            "accept_rate_interval": [
                _finite(self.accept_rate.low),
                _finite(self.accept_rate.high),
            ],
            "reward": _finite(self.reward.mean),
            "reward_interval": [_finite(self.reward.low), _finite(self.reward.high)],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checkpoints on the same positions; the differences are last minus base, paired."""

    base: Score
    last: Score
    reward_diff: Estimate
    accept_rate_diff: Estimate

    def as_dict(self) -> dict[str, object]:
        return {
            "positions": self.base.positions,
            "base": self.base.as_dict(),
            "last": self.last.as_dict(),
            "reward_diff": self.reward_diff.as_dict(),
            "accept_rate_diff": self.accept_rate_diff.as_dict(),
        }


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Estimate:
    """A proportion with its score interval; [0, 1] without trials."""
    mean = successes / trials if trials else math.nan
    return Estimate(mean, *statistics.wilson(successes, trials, confidence))


def clustered_mean(
    values: Sequence[float], clusters: Sequence[str], confidence: float = CONFIDENCE
) -> Estimate:
    """The mean with a cluster-robust t interval.

    ``values`` and ``clusters`` have the same length. With fewer than two clusters there is no
    interval (NaN).
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    if not values:
        return Estimate(math.nan, math.nan, math.nan)
    mean = math.fsum(values) / len(values)
    groups_B = group(clusters, len(clusters))
    error = clustered_error(np.asarray(values, dtype=np.float64), groups_B)
    if error is None:
        return Estimate(mean, math.nan, math.nan)
    freedom = int(groups_B.max())  # groups are numbered from 0
    half = student_quantile(0.5 + confidence / 2, freedom) * error
    return Estimate(mean, mean - half, mean + half)


def score(
    checkpoint: str, outcomes: Sequence[Outcome], clusters: Sequence[str], rewards: Rewards
) -> Score:
    """Summarise one checkpoint's outcomes, clustered by file."""
    shown = sum(outcome != "silence" for outcome in outcomes)
    accepted = sum(outcome == "accepted" for outcome in outcomes)
    influence = _rate_influence(outcomes)
    spread = clustered_mean(influence, clusters)
    rate = accepted / shown if shown else math.nan
    return Score(
        checkpoint=checkpoint,
        positions=len(outcomes),
        shown=shown,
        accepted=accepted,
        accept_rate=_shifted(spread, rate) if shown else Estimate(math.nan, math.nan, math.nan),
        reward=clustered_mean(rewards_of(outcomes, rewards), clusters),
    )


def compare(
    base: tuple[str, Sequence[Outcome]],
    last: tuple[str, Sequence[Outcome]],
    clusters: Sequence[str],
    rewards: Rewards,
    *,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare two checkpoints, each given as its id and its outcomes at the same positions.

    ``confidence`` is that of the differences' intervals.

    The difference of accept rates is a difference of ratios with random denominators (shown);
    its interval uses the influence function of a ratio (the delta method), which keeps the
    pairing. Raises ValueError where the lengths differ.
    """
    if not len(base[1]) == len(last[1]) == len(clusters):
        raise ValueError(
            f"not the same positions: {len(base[1])}, {len(last[1])}, {len(clusters)} clusters"
        )
    before, after = score(*base, clusters, rewards), score(*last, clusters, rewards)
    differences = [
        new - old
        for new, old in zip(rewards_of(last[1], rewards), rewards_of(base[1], rewards), strict=True)
    ]
    if before.shown and after.shown:
        influence = [
            new - old
            for new, old in zip(_rate_influence(last[1]), _rate_influence(base[1]), strict=True)
        ]
        gain = after.accept_rate.mean - before.accept_rate.mean
        rate_diff = _shifted(clustered_mean(influence, clusters, confidence), gain)
    else:
        rate_diff = Estimate(math.nan, math.nan, math.nan)
    return Comparison(before, after, clustered_mean(differences, clusters, confidence), rate_diff)


def rewards_of(outcomes: Sequence[Outcome], rewards: Rewards) -> list[float]:
    worth = {
        "accepted": rewards.accepted,
        "rejected": rewards.rejected,
        "silence": rewards.silence,
    }
    return [worth[outcome] for outcome in outcomes]


def _rate_influence(outcomes: Sequence[Outcome]) -> list[float]:
    """How much each position moves accepted / shown, times the number of positions; sums to 0."""
    shown = sum(outcome != "silence" for outcome in outcomes)
    if not shown:
        return [0.0] * len(outcomes)
    rate = sum(outcome == "accepted" for outcome in outcomes) / shown
    scale = len(outcomes) / shown
    return [
        0.0 if outcome == "silence" else scale * ((outcome == "accepted") - rate)
        for outcome in outcomes
    ]


def _shifted(spread: Estimate, mean: float) -> Estimate:
    """The interval of an influence function around the figure that it belongs to."""
    return Estimate(mean, mean + spread.low - spread.mean, mean + spread.high - spread.mean)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
