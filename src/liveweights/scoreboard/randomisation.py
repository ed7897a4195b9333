"""Paired comparisons of cases that come in few or uneven groups: swap the sides of whole groups.

If the two score alike, they might as well have been swapped in any of the groups: the sum of a
group's differences is as likely as its negative, and the observed sum over all groups one of those
that flips of their signs give (Fisher 1935, "The Design of Experiments", section 21; for clusters
Canay, Romano & Shaikh 2017, "Randomization tests under an approximate symmetry assumption"). That
holds for any number of groups of any sizes, where a clustered standard error needs many even ones.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from liveweights.gate.statistics import (
    Difference,
    FloatArray,
    adjusted_difference,
    group,
    tails,
)

BITS = 16
"""All flips of up to so many groups are looked at; of more groups 2^BITS flips."""


def randomised_difference(
    candidate_B: Sequence[float] | FloatArray,
    incumbent_B: Sequence[float] | FloatArray,
    groups_B: Sequence[Hashable],
    confidence: float = 0.95,
) -> tuple[Difference, float]:
    """`adjusted_difference`, widened by swapped groups, and its p-value (`widen`). Raises
    ValueError as that does."""
    difference = adjusted_difference(candidate_B, incumbent_B, groups_B, confidence)
    return widen(difference, candidate_B, incumbent_B, groups_B)


def widen(
    difference: Difference,
    candidate_B: Sequence[float] | FloatArray,
    incumbent_B: Sequence[float] | FloatArray,
    groups_B: Sequence[Hashable],
) -> tuple[Difference, float]:
    """``difference`` with the wider of its own interval and that of swapped groups, which has every
    value that the sign-flip test does not reject; and the two-sided p-value of "no difference", the
    larger of both, at most 1 - confidence exactly if 0 is outside.

    Its own alone where every case is a group of its own. Without an interval where the groups are
    so few that the test rejects nothing at that confidence.
    """
    below, above = tails(difference)
    if difference.low is None or difference.high is None:
        return difference, 1.0
    if difference.sessions == difference.cases:
        return difference, min(1.0, 2 * min(below, above))
    values = np.asarray(candidate_B, dtype=np.float64) - np.asarray(incumbent_B, dtype=np.float64)
    means, flips = typical_values(values, group(groups_B, len(values)))
    none = flips - len(means)
    below = max(below, float(none + (means >= 0).sum()) / flips)
    above = max(above, float(none + (means <= 0).sum()) / flips)
    beyond = math.floor(flips * (1 - difference.confidence) / 2) - none
    widened = msgspec.structs.replace(
        difference,
        low=None if beyond < 0 else min(difference.low, float(means[beyond])),
        high=None if beyond < 0 else max(difference.high, float(means[-1 - beyond])),
    )
    return widened, min(1.0, 2 * min(below, above))


def smallest_p(groups: int) -> float:
    """Two-sided, that so many groups can give: the observed sum is one of their flips."""
    return 2.0 ** (1 - min(groups, BITS))


def typical_values(values_B: FloatArray, groups_B: NDArray[np.int64]) -> tuple[FloatArray, int]:
    """Means of the values over the groups that a flip swaps, ascending, and the number of flips;
    those that swap none have no mean.

    A flip gives a sum at least as large as the observed one exactly if the values that it swaps
    have a sum of at most 0. So a true mean lies between any two neighbours of these means with the
    same chance (Hartigan 1969, "Using subsample values as typical values").
    """
    sizes = tuple(np.bincount(groups_B).tolist())
    swapped = _count_swapped(sizes)
    sums = _add_swapped(np.bincount(groups_B, weights=values_B).astype(np.float64))
    some = swapped > 0
    # Rounded, so that what cancels out is 0.
    return np.sort((sums[some] / swapped[some]).round(12)), len(sums)


@lru_cache(maxsize=8)
def _count_swapped(sizes_G: tuple[int, ...]) -> FloatArray:
    return _add_swapped(np.array(sizes_G, dtype=np.float64)).round()


def _add_swapped(values_G: FloatArray) -> FloatArray:
    """The sum of the values that it swaps, of every flip; the first swaps none.

    Bits of a group's code say which of the generating flips swap it. With a bit of its own for each
    group these are all flips, with codes drawn at random a subgroup of them, whose test is exact,
    too (Hemerik & Goeman 2018, "Exact testing with random permutations"). All signed sums at once
    are a Walsh-Hadamard transform.
    """
    count = len(values_G)
    bits = min(count, BITS)
    codes = 1 << np.arange(count)
    if count > BITS:
        codes = np.random.default_rng(0).integers(1, 1 << BITS, count)
    signed = np.bincount(codes, weights=values_G, minlength=1 << bits)
    for _ in range(bits):
        signed = np.concatenate([signed[0::2] + signed[1::2], signed[0::2] - signed[1::2]])
    return (signed[0] - signed) / 2
