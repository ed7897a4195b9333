"""Pairs of models that are equally good, drawn again and again: what tells them apart is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tests.scoreboard.submissions import read_published

from liveweights.gate.statistics import FloatArray, adjusted_difference, group, tails
from liveweights.scoreboard.randomisation import randomised_difference

Two = tuple[FloatArray, FloatArray]
Groups = NDArray[np.int64]
PUBLISHED = read_published()
REPOSITORIES = group([name.rpartition("-")[0] for name in PUBLISHED.instances], 500)
INSTANCES = np.arange(500)
SOLVED = [
    np.array([float(digit) for digit in submission.resolved])
    for submission in PUBLISHED.submissions
]
"""By submission to SWE-bench Verified, and by instance."""


def swap(one_B: FloatArray, other_B: FloatArray, swapped_B: NDArray[np.bool_]) -> Two:
    return np.where(swapped_B, other_B, one_B), np.where(swapped_B, one_B, other_B)


def swap_units(
    rng: np.random.Generator, one_B: FloatArray, other_B: FloatArray, units_B: Groups
) -> Two:
    """Each unit as a whole, or not, as a coin says."""
    return swap(one_B, other_B, (rng.random(len(units_B)) < 0.5)[units_B])


def make_groups(count: int, *, even: bool) -> Groups:
    """About 500 cases; uneven groups hold from 250 down to one."""
    sizes = np.full(count, max(2, 500 // count))
    if not even:
        sizes = np.maximum(1, 250 * np.arange(1, count + 1) ** -1.2).astype(int)
    return np.repeat(np.arange(count), sizes)


def solve(rng: np.random.Generator, groups_B: Groups, taste: float) -> Two:
    """Groups are harder or easier, and with ``taste`` suit one model or the other, by chance."""
    count = int(groups_B.max()) + 1
    ease = rng.normal(size=count) + taste * rng.normal(size=(2, count))
    chances = 1 / (1 + np.exp(-ease))[:, groups_B]
    one, other = (rng.random(chances.shape) < chances).astype(float)
    return one, other


def are_apart(two: Two, groups_B: Groups) -> tuple[bool, bool]:
    """At 5%: by Student's t alone, and as the scoreboard says, whose p-value is never smaller."""
    by_t = 2 * min(tails(adjusted_difference(*two, groups_B.tolist()))) <= 0.05
    return by_t, by_t and randomised_difference(*two, groups_B.tolist())[1] <= 0.05
