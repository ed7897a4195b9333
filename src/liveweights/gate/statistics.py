"""Intervals and tests for paired comparisons whose cases come in sessions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cache
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of candidate minus incumbent over paired cases, with its interval.

    ``low`` and ``high`` are None where there are fewer than two sessions. ``changed`` counts the
    cases on which the two differ, ``wins`` those on which the candidate is higher.
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


def paired_difference(
    candidate_B: Sequence[float] | FloatArray,
    incumbent_B: Sequence[float] | FloatArray,
    sessions_B: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> Difference:
    """Interval for the mean paired difference; cases of one session may depend on one another.

    ``sessions_B`` names the session of each case; None treats cases as independent. The interval
    is Student's t with one degree of freedom fewer than there are sessions.
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
    difference = Difference(
        mean=float(differences.mean()),
        low=None,
        high=None,
        standard_error=clustered_error(differences, groups),
        confidence=confidence,
        cases=len(differences),
        sessions=int(groups.max()) + 1,
        changed=int((differences != 0).sum()),
        wins=int((differences > 0).sum()),
        candidate=float(candidate.mean()),
        incumbent=float(incumbent.mean()),
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
        low=difference.mean - reach,
        high=difference.mean + reach,
    )


def clustered_error(values_B: FloatArray, groups_B: NDArray[np.int64]) -> float | None:
    """Standard error of the mean when values of one group may depend on one another.

    The delete-one-group jackknife (CV3 of MacKinnon, Nielsen & Webb 2023, "Cluster-robust
    inference"). With groups of equal size it is the clustered standard error of arXiv 2411.00640,
    section 2.2, times sqrt(G / (G - 1)); with unequal ones it errs on the wide side.
    None where there are fewer than two groups.
    """
    sizes = np.bincount(groups_B).astype(float)
    count = len(sizes)
    if count < 2:
        return None
    sums = np.bincount(groups_B, weights=values_B)
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    centred = without - values_B.mean()
    return float(math.sqrt((count - 1) / count * float((centred**2).sum())))


def group(sessions_B: Sequence[Hashable] | None, count: int) -> NDArray[np.int64]:
    """Number the sessions 0, 1, ... in order of appearance; None makes each case its own."""
    if sessions_B is None:
        return np.arange(count, dtype=np.int64)
    if len(sessions_B) != count:
        raise ValueError(f"{count} cases but {len(sessions_B)} sessions")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(s, len(numbers)) for s in sessions_B], dtype=np.int64)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value of wins and losses being equally likely; ties do not count.

    On right-or-wrong cases this is McNemar's test in its exact form (McNemar 1947; the binomial
    distribution of discordant pairs).
    """
    changed, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(changed, k) for k in range(fewer + 1)) / 2**changed
    return min(1.0, 2 * tail)


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


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t for a probability of at least one half, to nine digits."""
    if freedom < 1 or not 0.5 <= probability < 1:
        raise ValueError(f"no t quantile for {probability=} and {freedom=}")
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        if student_cdf(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def student_cdf(t: float, freedom: int) -> float:
    """Distribution function of Student's t (DLMF 8.17.1: I_x(1 / 2, freedom / 2))."""
    half = _beta_ratio(0.5, freedom / 2, t * t / (freedom + t * t)) / 2
    return 0.5 + half if t > 0 else 0.5 - half


def _beta_ratio(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly: DLMF 8.17.4
        return 1 - _beta_ratio(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # Modified Lentz: numerator and denominator of successive convergents, kept off zero.
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            step = c * d
            fraction *= step
        if abs(step - 1) < 1e-15:
            break
    return front * fraction / a


def _floats(values: Sequence[float] | FloatArray) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("values must be finite numbers")
    return array
