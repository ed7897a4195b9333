from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.evalues import beta_binomial, interval, wealth

counts = st.integers(0, 60)
cached = cache(beta_binomial)
RUNS, CASES, LEVEL = 2000, 300, 0.05


def ever_rejects(rng: np.random.Generator, rise: float, changed: float) -> float:
    """Share of runs in which the e-value, looked at after every case, ever reaches 1 / LEVEL."""
    rejected = 0
    for _ in range(RUNS):
        rises = falls = 0
        moves = rng.random(rng.binomial(CASES, changed)) < rise
        for up in moves:  # concordant cases change nothing
            rises, falls = rises + bool(up), falls + (not up)
            if cached(rises, falls) >= -math.log(LEVEL):
                rejected += 1
                break
    return rejected / RUNS


@pytest.mark.parametrize("rise", [0.5, 0.4])
def test_peeking_after_every_case_errs_less_often_than_the_nominal_rate(rise: float) -> None:
    assert ever_rejects(np.random.default_rng(0), rise, changed=0.3) <= LEVEL


def test_what_is_there_is_found() -> None:
    assert ever_rejects(np.random.default_rng(1), 0.8, changed=0.3) >= 0.95


@given(counts, counts)
def test_one_more_case_is_a_fair_bet_under_an_even_chance(rises: int, falls: int) -> None:
    now = beta_binomial(rises, falls)
    then = [beta_binomial(rises + 1, falls), beta_binomial(rises, falls + 1)]
    assert np.exp(np.array(then) - now).mean() == pytest.approx(1, abs=1e-9)
    # and a losing one where rises are rarer
    assert np.exp(np.array(then) - now) @ [0.3, 0.7] <= 1 + 1e-9


def test_the_mixture_is_the_integral() -> None:
    chances = np.linspace(0.5, 1, 20_001)
    for rises, falls in [(0, 0), (3, 1), (1, 6), (20, 9)]:
        ratio = (2 * chances) ** rises * (2 * (1 - chances)) ** falls
        expected = np.trapezoid(ratio, chances) * 2
        assert math.exp(beta_binomial(rises, falls)) == pytest.approx(expected, rel=1e-4)


def test_hopeless_counts_are_worth_nothing_and_negative_ones_are_refused() -> None:
    assert beta_binomial(0, 3000) < -5
    with pytest.raises(ValueError, match="negative"):
        beta_binomial(-1, 0)


@pytest.mark.parametrize("mean", [0.0, -0.05])
def test_betting_on_bounded_rewards_errs_less_often_than_the_nominal_rate(mean: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.beta(0.4, 0.4, (RUNS, CASES)) * 2 - 1 + mean  # in [-1.05, 1], U-shaped
    peaks = wealth(values, mean, 1.05).max(axis=-1)
    assert (peaks >= -math.log(LEVEL)).mean() <= LEVEL


def test_the_confidence_sequence_narrows_around_the_truth() -> None:
    values = np.random.default_rng(3).normal(0.2, 0.2, 600).clip(-1, 1)
    early, late = interval(values[:60], LEVEL, 1.0), interval(values, LEVEL, 1.0)
    assert early[0] <= late[0] <= 0.2 <= late[1] <= early[1]
    assert late[1] - late[0] < 0.12
