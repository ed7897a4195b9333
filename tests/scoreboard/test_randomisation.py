from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.scoreboard.draws import (
    INSTANCES,
    PUBLISHED,
    REPOSITORIES,
    SOLVED,
    Groups,
    Two,
    are_apart,
    make_groups,
    solve,
    swap,
    swap_units,
)

from liveweights.gate.statistics import adjusted_difference, group, tails
from liveweights.scoreboard.randomisation import (
    randomised_difference,
    smallest_p,
    typical_values,
    widen,
)

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
    rows: list[tuple[float, float, int]], names: list[int], random: Random
) -> None:
    mixed = [(a, b, names[number]) for a, b, number in rows]
    random.shuffle(mixed)
    ours, theirs, groups = zip(*rows, strict=True)
    one, p = randomised_difference(ours, theirs, groups)
    ours, theirs, groups = zip(*mixed, strict=True)
    other, same = randomised_difference(ours, theirs, groups)
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


def keeps_its_level(draw: Callable[[], Two], groups: Groups) -> bool:
    """Of 2,000 draws in which both are equally good at most 5% tell them apart, and what four
    standard errors of chance allow."""
    wrong = sum(are_apart(draw(), groups)[1] for _ in range(2000))
    return wrong / 2000 <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("units", [REPOSITORIES, INSTANCES], ids=["repositories", "instances"])
@pytest.mark.parametrize(("one", "other"), [(0, 3), (2, 6), (4, 9), (0, 10)])
def test_submissions_that_are_swapped_by_chance_are_not_told_apart(
    units: Groups, one: int, other: int
) -> None:
    rng = np.random.default_rng(one + 11 * other)
    assert keeps_its_level(lambda: swap_units(rng, SOLVED[one], SOLVED[other], units), REPOSITORIES)


def test_of_all_swaps_of_whole_repositories_at_most_one_in_twenty_is_told_apart() -> None:
    swaps = np.array(list(product([False, True], repeat=12)))[:, REPOSITORIES]
    told = [are_apart(swap(SOLVED[0], SOLVED[3], swapped), REPOSITORIES) for swapped in swaps]
    by_t, by_both = np.mean(told, axis=0)
    assert by_t > 0.09
    assert 0 < by_both <= 0.05


@pytest.mark.parametrize("even", [True, False], ids=["even", "uneven"])
@pytest.mark.parametrize("count", [5, 12, 50, 500])
def test_equal_models_on_made_up_groups_are_not_told_apart(count: int, even: bool) -> None:
    rng, groups = np.random.default_rng(count), make_groups(count, even=even)
    assert keeps_its_level(lambda: solve(rng, groups, 1.0), groups)


@settings(max_examples=20)
@given(st.integers(17, 60), st.integers(0, 2**32 - 1))
def test_some_of_the_flips_of_many_groups_are_enough(count: int, seed: int) -> None:
    """The sum of their flips is about normal, so p is near that of Student's t."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(count), 20).tolist()
    ours, theirs = rng.random((2, len(names)))
    p = 2 * min(tails(adjusted_difference(ours, theirs, names)))
    assert p - 1e-9 <= randomised_difference(ours, theirs, names)[1] <= p + 0.1
