"""Intervals and tests for paired comparisons whose cases come in sessions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from liveweights.gate.distributions import student_cdf, student_quantile

FloatArray = NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of candidate minus incumbent over paired cases, with its interval.

    ``low`` and ``high`` are None where there are fewer than two sessions. ``changed`` counts the
    cases on which the two differ, ``wins`` those on which the candidate is higher. ``shift`` is
    how far the interval's middle lies from the mean: only `adjusted_difference` moves it.
    """

    mean: float
    low: float | None
    high: float | None
    standard_error: float | None
    confidence: float
    cases: int
    sessions: int
    changed: int
    wins: int
    candidate: float
    incumbent: float
    shift: float = 0.0

    @property
    def middle(self) -> float:
        return self.mean + self.shift


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Both ends of a proportion's score interval (Wilson 1927); 0 and 1 without trials. Successes
    may be the sum of what is in [0, 1], which spreads no more."""
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    half /= 1 + z * z / trials
    # Rounding would have the ends of 0 and 1 beside them.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def rate_difference(
    successes: tuple[int, int], trials: tuple[int, int], confidence: float = 0.95
) -> tuple[float, float]:
    """Both ends of the interval of the first proportion minus the second, of independent trials
    (Newcombe 1998, method 10); -1 and 1 where either has none."""
    if 0 in trials:
        return -1.0, 1.0
    ours, theirs = successes[0] / trials[0], successes[1] / trials[1]
    our_low, our_high = wilson(successes[0], trials[0], confidence)
    their_low, their_high = wilson(successes[1], trials[1], confidence)
    difference = ours - theirs
    return (
        difference - math.hypot(ours - our_low, their_high - theirs),
        difference + math.hypot(our_high - ours, theirs - their_low),
    )


def paired_difference(
    candidate_B: Sequence[float] | FloatArray,
    incumbent_B: Sequence[float] | FloatArray,
    sessions_B: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    *,
    weights_B: Sequence[float] | None = None,
) -> Difference:
    """Interval for the mean paired difference; cases of one session may depend on one another.

    ``sessions_B`` names the session of each case; None treats cases as independent. ``weights_B``,
    above 0, say how many cases each stands for in the means. The interval is Student's t with one
    degree of freedom fewer than there are sessions.
    Raises ValueError where lengths differ or a value is not finite.
    """
    candidate, incumbent = _floats(candidate_B), _floats(incumbent_B)
    if len(candidate) != len(incumbent):
        raise ValueError(
            f"paired values must be equally many: {len(candidate)} of the candidate,"
            f" {len(incumbent)} of the incumbent"
        )
    if len(candidate) == 0:
        raise ValueError("there are no cases to compare")
    differences = candidate - incumbent
    groups = group(sessions_B, len(differences))
    weights = _weights(weights_B, len(differences))
    difference = Difference(
        mean=float((weights * differences).mean()),
        low=None,
        high=None,
        standard_error=clustered_error(differences, groups, weights),
        confidence=confidence,
        cases=len(differences),
        sessions=int(groups.max()) + 1,
        changed=int((differences != 0).sum()),
        wins=int((differences > 0).sum()),
        candidate=float((weights * candidate).mean()),
        incumbent=float((weights * incumbent).mean()),
    )
    return at_confidence(difference, confidence)


def at_confidence(difference: Difference, confidence: float) -> Difference:
    """The same difference with its interval drawn at another two-sided confidence."""
    if difference.standard_error is None:
        return msgspec.structs.replace(difference, confidence=confidence)
    quantile = student_quantile(0.5 + confidence / 2, difference.sessions - 1)
    reach = quantile * difference.standard_error
    return msgspec.structs.replace(
        difference,
        confidence=confidence,
        low=difference.middle - reach,
        high=difference.middle + reach,
    )


def adjusted_difference(
    candidate_B: Sequence[float] | FloatArray,
    incumbent_B: Sequence[float] | FloatArray,
    sessions_B: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    *,
    added: int = 2,
    weights_B: Sequence[float] | None = None,
) -> Difference:
    """As `paired_difference` for scores in [0, 1], and safe where few or no cases differ.

    For the interval only, ``added`` cases that just the candidate solves and as many that just the
    incumbent solves are joined, each a session of its own. With one of each it is Bonett & Price
    2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data"; where a candidate only ever loses, that one meets a margin wrongly about twice as
    often as its level says, and two of each do not. So also a suite on which nothing differs has
    a width. Raises ValueError also for a score outside [0, 1].
    """
    plain = paired_difference(candidate_B, incumbent_B, sessions_B, confidence, weights_B=weights_B)
    candidate, incumbent = _floats(candidate_B), _floats(incumbent_B)
    if min(candidate.min(), incumbent.min()) < 0 or max(candidate.max(), incumbent.max()) > 1:
        raise ValueError("scores must be in [0, 1]")
    if plain.standard_error is None:
        return plain
    differences = np.append(candidate - incumbent, [1.0, -1.0] * added)
    groups = np.append(
        group(sessions_B, len(candidate)), np.arange(2 * added, dtype=np.int64) + plain.sessions
    )
    weights = np.append(_weights(weights_B, len(candidate)), np.ones(2 * added))
    moved = msgspec.structs.replace(
        plain,
        standard_error=clustered_error(differences, groups, weights),
        shift=float((weights * differences).mean()) - plain.mean,
    )
    return at_confidence(moved, confidence)


def tails(difference: Difference) -> tuple[float, float]:
    """One-sided p-values of "not worse" and of "not better": small ones speak against them.

    Student's t with the difference's own error; (1, 1) where there is none.
    """
    if not difference.standard_error:
        return 1.0, 1.0
    t = difference.middle / difference.standard_error
    below = student_cdf(t, difference.sessions - 1)
    return below, 1 - below


def clustered_error(
    values_B: FloatArray, groups_B: NDArray[np.int64], weights_B: FloatArray | None = None
) -> float | None:
    """Standard error of the (weighted) mean when values of one group may depend on one another.

    The delete-one-group jackknife (CV3 of MacKinnon, Nielsen & Webb 2023, "Cluster-robust
    inference"). With groups of equal size it is the clustered standard error of arXiv 2411.00640,
    section 2.2, times sqrt(G / (G - 1)); with unequal ones it errs on the wide side.
    None where there are fewer than two groups.
    """
    weights = np.ones(len(values_B)) if weights_B is None else weights_B
    sizes = np.bincount(groups_B, weights=weights)
    count = len(sizes)
    if count < 2:
        return None
    sums = np.bincount(groups_B, weights=weights * values_B)
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    centred = without - sums.sum() / sizes.sum()
    return float(math.sqrt((count - 1) / count * float((centred**2).sum())))


def group(sessions_B: Sequence[Hashable] | None, count: int) -> NDArray[np.int64]:
    """Number the sessions 0, 1, ... in order of appearance; None makes each case its own."""
    if sessions_B is None:
        return np.arange(count, dtype=np.int64)
    if len(sessions_B) != count:
        raise ValueError(f"{count} cases but {len(sessions_B)} sessions")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(s, len(numbers)) for s in sessions_B], dtype=np.int64)


def cases_needed(difference: Difference, effect: float, power: float) -> int | None:
    """How many cases would find a true mean difference of ``effect`` with this ``power``.

    ``n (z_{confidence} + z_power)^2 (standard error / effect)^2``, the sample size of a paired
    z-test (arXiv 2411.00640, section 5) with the spread and the sessions seen so far. None where
    no spread was seen.
    """
    if not difference.standard_error:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + difference.confidence / 2) + normal.inv_cdf(power)
    return math.ceil(difference.cases * (z * difference.standard_error / effect) ** 2)


def _weights(weights_B: Sequence[float] | None, count: int) -> FloatArray:
    """With a mean of 1."""
    if weights_B is None:
        return np.ones(count)
    weights = _floats(weights_B)
    if len(weights) != count or weights.min() <= 0:
        raise ValueError(f"{count} cases need as many weights above 0")
    return weights / weights.mean()


def _floats(values: Sequence[float] | FloatArray) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("values must be finite numbers")
    return array
