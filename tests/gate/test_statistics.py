from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.statistics import (
    adjusted_difference,
    at_confidence,
    cases_needed,
    clustered_error,
    group,
    paired_difference,
    rate_difference,
    tails,
    wilson,
)

values = st.floats(-1, 1, allow_nan=False)
pairs = st.lists(st.tuples(values, values, st.integers(0, 9)), min_size=3, max_size=60)


@given(pairs)
def test_swapping_the_arms_mirrors_the_interval(rows: list[tuple[float, float, int]]) -> None:
    ours, theirs, sessions = zip(*rows, strict=True)
    one, other = (
        paired_difference(ours, theirs, sessions),
        paired_difference(theirs, ours, sessions),
    )
    assert one.mean == pytest.approx(-other.mean)
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(-other.high)
        assert one.low <= one.mean


@given(pairs, st.floats(0.001, 1))
def test_a_higher_candidate_is_never_judged_lower(
    rows: list[tuple[float, float, int]], more: float
) -> None:
    ours, theirs, sessions = zip(*rows, strict=True)
    before = paired_difference(ours, theirs, sessions)
    after = paired_difference([value + more for value in ours], theirs, sessions)
    if before.low is not None and after.low is not None:
        assert after.low > before.low


@given(st.lists(values, min_size=2, max_size=60))
def test_independent_cases_have_the_textbook_error(differences: list[float]) -> None:
    array = np.array(differences)
    error = clustered_error(array, group(None, len(array)))
    assert error == pytest.approx(array.std(ddof=1) / math.sqrt(len(array)), abs=1e-12)


def test_equal_groups_have_the_published_clustered_error() -> None:
    rng = np.random.default_rng(0)
    differences, groups = rng.normal(size=60), np.repeat(np.arange(12), 5)
    centred = differences - differences.mean()
    # arXiv 2411.00640, section 2.2: the double sum over a cluster is its squared sum
    published = math.sqrt(sum(centred[groups == g].sum() ** 2 for g in range(12))) / 60
    expected = published * math.sqrt(12 / 11)
    assert clustered_error(differences, groups) == pytest.approx(expected)


def test_repeating_a_session_adds_no_certainty() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=20), rng.normal(size=20)
    once = paired_difference(ours, theirs, list(range(20)))
    often = paired_difference(np.repeat(ours, 9), np.repeat(theirs, 9), list(np.arange(180) // 9))
    assert often.low == pytest.approx(once.low)
    assert paired_difference(np.repeat(ours, 9), np.repeat(theirs, 9)).low > once.low  # type: ignore[operator]


def test_one_session_has_no_interval() -> None:
    difference = paired_difference([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], ["a", "a", "a"])
    assert (difference.low, difference.high, difference.standard_error) == (None, None, None)
    assert at_confidence(difference, 0.9).low is None
    assert cases_needed(difference, 0.1, 0.8) is None


@pytest.mark.parametrize("effect", [0.0, 0.4])
def test_intervals_of_uneven_sessions_cover_the_truth(effect: float) -> None:
    rng = np.random.default_rng(2)
    runs, covered = 2000, 0
    for _ in range(runs):
        sizes = rng.integers(1, 30, size=12)
        sessions = np.repeat(np.arange(12), sizes)
        shared = rng.normal(scale=0.5, size=12)[sessions]
        ours = effect + shared + rng.normal(size=len(sessions))
        interval = paired_difference(ours, np.zeros(len(sessions)), sessions.tolist())
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= effect <= interval.high
    # Two standard errors of the simulation below the nominal 95%; wide is allowed, not useless.
    assert 0.94 <= covered / runs <= 0.98


def test_as_many_cases_as_needed_find_the_effect_with_that_power() -> None:
    rng = np.random.default_rng(3)
    pilot = rng.normal(scale=0.5, size=400)
    needed = cases_needed(paired_difference(pilot, np.zeros(400)), effect=0.1, power=0.8)
    assert needed == pytest.approx((1.96 + 0.8416) ** 2 * pilot.var(ddof=1) / 0.01, abs=1)
    draws = rng.normal(loc=0.1, scale=pilot.std(ddof=1), size=(500, needed))
    zeros = np.zeros(needed)
    found = sum((paired_difference(draw, zeros).low or -1) > 0 for draw in draws)
    assert 0.74 <= found / 500 <= 0.86


@pytest.mark.parametrize(
    ("ours", "theirs", "sessions", "message"),
    [
        ([1.0], [1.0, 2.0], None, "equally many"),
        ([], [], None, "no cases"),
        ([float("nan")], [1.0], None, "finite"),
        ([1.0, 2.0], [1.0, 2.0], ["a"], "1 sessions"),
    ],
)
def test_bad_input_is_named(
    ours: list[float], theirs: list[float], sessions: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(ours, theirs, sessions)


def test_adjusted_interval_is_bonett_and_prices() -> None:
    # Airway hyper-responsiveness of 21 children before and after (Bentur et al. 2009), the example
    # of Fagerland, Lydersen & Laake 2014 (Stat Med 33:2850): one better, seven worse.
    ours, theirs = [1.0] + [0.0] * 20, [0.0] + [1.0] * 7 + [0.0] * 13
    found = adjusted_difference(ours, theirs, added=1)
    better, worse = (1 + 1) / 23, (7 + 1) / 23
    published = math.sqrt((better + worse - (better - worse) ** 2) / 23)
    assert found.mean == pytest.approx(-6 / 21)
    assert found.middle == pytest.approx(better - worse)
    # theirs divides by n, a jackknife by n - 1
    assert found.standard_error == pytest.approx(published * math.sqrt(23 / 22))


def test_cases_that_all_agree_are_not_proof_when_few() -> None:
    def low(cases: int) -> float:
        found = adjusted_difference([1.0] * cases, [1.0] * cases)
        assert (found.cases, found.changed, found.wins) == (cases, 0, 0)
        return found.low or 0.0

    assert low(190) < -0.02 < low(200)
    for cases in (20, 100, 400):  # wider than the exact bound on a chance never seen
        assert low(cases) < -(1 - 0.025 ** (1 / cases))


@pytest.mark.parametrize(
    ("win", "loss", "cases"),
    [(0.01, 0.02, 100), (0.0, 0.03, 100), (0.1, 0.2, 40), (0.0, 0.05, 60), (0.05, 0.08, 300)],
)
def test_a_margin_is_met_wrongly_at_most_at_the_level(win: float, loss: float, cases: int) -> None:
    rng = np.random.default_rng(4)
    runs, met = 2000, 0
    for _ in range(runs):
        moves = rng.choice([1, -1, 0], size=cases, p=[win, loss, 1 - win - loss])
        found = adjusted_difference((moves > 0).astype(float), (moves < 0).astype(float))
        met += found.low is not None and found.low > win - loss
    assert met / runs <= 0.025 + 2 * (0.025 * 0.975 / runs) ** 0.5


def test_tails_are_students() -> None:
    found = paired_difference([0.3, 0.1, 0.4, 0.2], [0.0, 0.1, 0.0, 0.0])
    below, above = tails(found)
    assert below + above == pytest.approx(1)
    assert above < 0.05 < below
    at_the_edge = at_confidence(found, 1 - 2 * above)
    assert at_the_edge.low == pytest.approx(0, abs=1e-9)
    assert tails(paired_difference([1.0], [0.0])) == (1.0, 1.0)


def test_scores_outside_zero_and_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        adjusted_difference([1.5, 0.0], [0.0, 0.0])


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_share_lies_in_its_interval(successes: int, failures: int) -> None:
    low, high = wilson(successes, successes + failures)
    trials = successes + failures
    assert 0 <= low <= (successes / trials if trials else 0.5) + 1e-12
    assert (successes / trials if trials else 0.5) - 1e-12 <= high <= 1


def test_an_interval_of_a_share_is_as_tables_give_it() -> None:
    assert wilson(9, 10) == (pytest.approx(0.596, abs=1e-3), pytest.approx(0.982, abs=1e-3))
    assert wilson(0, 0) == (0.0, 1.0)


def test_two_proportions_have_the_published_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table II, example (a), method 10.
    low, high = rate_difference((56, 48), (70, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


counts = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted)


@given(counts, counts)
def test_the_interval_of_two_proportions_has_their_difference(
    ours: list[int], theirs: list[int]
) -> None:
    low, high = rate_difference((ours[0], theirs[0]), (ours[1], theirs[1]))
    assert -1 <= low <= high <= 1
    other = rate_difference((theirs[0], ours[0]), (theirs[1], ours[1]))
    assert other == pytest.approx((-high, -low))
    if ours[1] and theirs[1]:
        assert low <= ours[0] / ours[1] - theirs[0] / theirs[1] <= high
