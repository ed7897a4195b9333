from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.scoreboard.submissions import read_published

from liveweights.gate.statistics import FloatArray, adjusted_difference, group, tails
from liveweights.scoreboard.randomisation import (
    randomised_difference,
    smallest_p,
    typical_values,
    widen,
)

PUBLISHED = read_published()
REPOSITORIES = [name.rpartition("-")[0] for name in PUBLISHED.instances]
SOLVED = [
    np.array([float(digit) for digit in submission.resolved])
    for submission in PUBLISHED.submissions
]
scores = st.sampled_from([0.0, 1 / 3, 0.5, 1.0])
rows = st.lists(st.tuples(scores, scores, st.integers(0, 7)), min_size=2, max_size=30)


@given(rows)
def test_p_is_the_share_of_all_flips_that_are_as_far_out(
    rows: list[tuple[float, float, int]],
) -> None:
    ours, theirs, names = zip(*rows, strict=True)
    groups = group(names, len(names))
    sums = np.bincount(groups, weights=np.subtract(ours, theirs))
    flips = np.array(list(product([1, -1], repeat=len(sums)))) @ sums
    means, count = typical_values(np.subtract(ours, theirs), groups)
    assert count == len(flips)
    for shift in (0.0, 0.21):
        sizes = np.bincount(groups)
        flips = np.array(list(product([1, -1], repeat=len(sums)))) @ (sums - shift * sizes)
        above = (flips >= flips[0] - 1e-9).sum()
        assert above == count - len(means) + (means <= shift + 1e-9).sum()


@given(rows)
def test_swapping_the_sides_mirrors_the_interval(rows: list[tuple[float, float, int]]) -> None:
    ours, theirs, names = zip(*rows, strict=True)
    one, p = randomised_difference(ours, theirs, names)
    other, same = randomised_difference(theirs, ours, names)
    assert same == pytest.approx(p)
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(-other.high)


@given(rows, st.permutations(range(8)), st.randoms())
def test_the_order_of_cases_and_groups_changes_nothing(
    rows: list[tuple[float, float, int]], names: list[int], random: np.random.Generator
) -> None:
    mixed = [(a, b, names[number]) for a, b, number in rows]
    random.shuffle(mixed)
    one, p = randomised_difference(*zip(*rows, strict=True))
    other, same = randomised_difference(*zip(*mixed, strict=True))
    assert same == pytest.approx(p)
    assert (one.low is None) == (other.low is None)
    assert one.low is None or one.low == pytest.approx(other.low, abs=1e-9)


@given(rows, st.floats(0.01, 100))
def test_typical_values_have_the_unit_of_the_scores(
    rows: list[tuple[float, float, int]], scale: float
) -> None:
    ours, theirs, names = zip(*rows, strict=True)
    values, groups = np.subtract(ours, theirs), group(names, len(names))
    means, _ = typical_values(values, groups)
    scaled, _ = typical_values(scale * values, groups)
    assert scaled == pytest.approx(scale * means, abs=1e-9)


@given(rows, st.floats(0.5, 0.999))
def test_p_and_interval_say_the_same(
    rows: list[tuple[float, float, int]], confidence: float
) -> None:
    ours, theirs, names = zip(*rows, strict=True)
    difference, p = randomised_difference(ours, theirs, names, confidence)
    assume(abs(p - (1 - confidence)) > 1e-9)
    apart = difference.low is not None and (difference.low > 0 or (difference.high or 0) < 0)
    assert apart == (p <= 1 - confidence)


@pytest.mark.parametrize("groups", range(1, 9))
def test_few_groups_tell_nothing_whatever_they_score(groups: int) -> None:
    names = np.repeat(np.arange(groups), 100).tolist()
    difference, p = randomised_difference([1.0] * len(names), [0.0] * len(names), names)
    enough = groups >= 6  # 2 / 2^6 is the first that is at most 0.05
    assert (difference.low is not None, p <= 0.05) == (enough, enough)
    assert (smallest_p(groups) <= 0.05) == enough
    assert p >= smallest_p(groups)


def test_cases_alone_are_compared_as_in_the_gate() -> None:
    ours, theirs = SOLVED[0], SOLVED[3]
    difference, p = randomised_difference(ours, theirs, PUBLISHED.instances)
    assert difference == adjusted_difference(ours, theirs, PUBLISHED.instances)
    assert p == 2 * min(tails(difference))


@pytest.mark.parametrize(("groups", "each"), [(50, 10), (100, 5), (250, 2)])
def test_with_many_even_groups_the_interval_is_as_wide_as_before(groups: int, each: int) -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(groups), each).tolist()
    ratios: list[float] = []
    for _ in range(20):
        ours, theirs = (rng.random((2, len(names))) < 0.5).astype(float)
        before = adjusted_difference(ours, theirs, names)
        after, _ = widen(before, ours, theirs, names)
        assert after.low is not None
        assert after.high is not None
        assert before.low is not None
        assert before.high is not None
        ratios.append((after.high - after.low) / (before.high - before.low))
    assert 1 <= np.mean(ratios) <= 1.01


def is_apart(ours: FloatArray, theirs: FloatArray, groups: list[str]) -> bool:
    """As `randomised_difference`, whose p-value is never below that of Student's t."""
    if 2 * min(tails(adjusted_difference(ours, theirs, groups))) > 0.05:
        return False
    return randomised_difference(ours, theirs, groups)[1] <= 0.05


def keeps_its_level(draw: Callable[[], tuple[FloatArray, FloatArray]], groups: list[str]) -> bool:
    """Of 2,000 draws in which both are equally good at most 5% tell them apart, and what four
    standard errors of chance allow."""
    wrong = sum(is_apart(*draw(), groups) for _ in range(2000))
    return wrong / 2000 <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("unit", ["repository", "instance"])
@pytest.mark.parametrize(("one", "other"), [(0, 3), (2, 6), (4, 9), (0, 10)])
def test_submissions_that_are_swapped_by_chance_are_not_told_apart(
    unit: str, one: int, other: int
) -> None:
    """Real results, of which Student's t tells up to 10% apart where whole repositories of very
    different size are swapped."""
    rng = np.random.default_rng(one + 11 * other)
    names = REPOSITORIES if unit == "repository" else list(PUBLISHED.instances)
    units = group(names, len(names))

    def draw() -> tuple[FloatArray, FloatArray]:
        swapped = (rng.random(len(names)) < 0.5)[units]
        return (
            np.where(swapped, SOLVED[other], SOLVED[one]),
            np.where(swapped, SOLVED[one], SOLVED[other]),
        )

    assert keeps_its_level(draw, REPOSITORIES)


def test_of_all_swaps_of_whole_repositories_at_most_one_in_twenty_is_told_apart() -> None:
    units = group(REPOSITORIES, len(REPOSITORIES))
    swaps = np.array(list(product([False, True], repeat=12)))[:, units]
    wrong = sum(
        is_apart(
            np.where(swapped, SOLVED[3], SOLVED[0]),
            np.where(swapped, SOLVED[0], SOLVED[3]),
            REPOSITORIES,
        )
        for swapped in swaps
    )
    assert 0 < wrong / len(swaps) <= 0.05


@pytest.mark.parametrize("kind", ["even", "uneven"])
@pytest.mark.parametrize("count", [5, 12, 50, 500])
def test_equal_models_on_made_up_groups_are_not_told_apart(count: int, kind: str) -> None:
    """Groups are harder or easier, and suit one model or the other, by chance."""
    rng = np.random.default_rng(count)
    ranks = np.arange(1, count + 1)
    even = np.full(count, max(2, 500 // count))
    sizes = even if kind == "even" else np.maximum(1, 250 * ranks**-1.2).astype(int)
    numbers = np.repeat(np.arange(count), sizes)

    def draw() -> tuple[FloatArray, FloatArray]:
        ease = rng.normal(size=count) + rng.normal(size=(2, count))
        chances = 1 / (1 + np.exp(-ease))[:, numbers]
        ours, theirs = (rng.random(chances.shape) < chances).astype(float)
        return ours, theirs

    assert keeps_its_level(draw, [str(number) for number in numbers])


@settings(max_examples=20)
@given(st.integers(17, 60), st.integers(0, 2**32 - 1))
def test_some_of_the_flips_of_many_groups_are_enough(count: int, seed: int) -> None:
    """The sum of their flips is about normal, so p is near that of Student's t."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(count), 20).tolist()
    ours, theirs = rng.random((2, len(names)))
    p = 2 * min(tails(adjusted_difference(ours, theirs, names)))
    assert p - 1e-9 <= randomised_difference(ours, theirs, names)[1] <= p + 0.1
