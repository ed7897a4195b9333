from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.gate.forgone import LEAST_RIGHT, forgone_shares

CONFIDENCE = 0.95


def world(
    count: int, seed: int, slope: float = 0.6, intercept: float = 1.5
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Drafts, which are right, their sessions, and how likely each was to be right."""
    rng = np.random.default_rng(seed)
    confidence = -rng.gamma(2.0, 3.0, count)
    chance = 1 / (1 + np.exp(-(intercept + slope * confidence)))
    return confidence, rng.random(count) < chance, [f"s{n // 4}" for n in range(count)], chance


@pytest.mark.parametrize("count", [240, 500])
@pytest.mark.parametrize("hidden", [0.2, 0.35])
def test_the_bound_holds_as_often_as_it_says(count: int, hidden: float) -> None:
    runs, place = 100, int(hidden * count)
    held = 0
    for seed in range(runs):
        confidence, right, sessions, chance = world(count, seed)
        found = forgone_shares(confidence, right, sessions, confidence=CONFIDENCE)
        order = np.argsort(confidence)
        held += found[place] >= chance[order][:place].sum() / chance.sum()
    # 97.5 of 100 are expected: 92 or fewer would come by chance once in 200 times.
    assert held >= 93


def test_it_is_closer_than_counting() -> None:
    confidence, right, sessions, _ = world(500, 1)
    found = forgone_shares(confidence, right, sessions, confidence=CONFIDENCE)
    allowed = int(np.nonzero(found <= 0.05)[0].max())
    assert allowed > 0.25 * len(confidence)
    # Where one right draft of a hundred were hidden, counting could not exclude that five are.
    assert right.sum() < 150


@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(0, 40))
@settings(deadline=None, max_examples=40)
def test_shares_rise_from_nothing_and_are_never_less_than_seen(
    seed: int, count: int, always: int
) -> None:
    confidence, right, sessions, _ = world(count, seed)
    found = forgone_shares(confidence, right, sessions, confidence=CONFIDENCE, always=always)
    assert found.shape == (count + 1,)
    assert found[0] == 0.0
    assert (found <= 1.0).all()
    seen = np.cumsum(right[np.argsort(confidence)]) / max(1, right.sum() + always)
    if right.sum() + always < LEAST_RIGHT:
        assert (found[1:] == 1.0).all()
    else:
        assert (found[1:] >= seen - 1e-12).all()


@pytest.mark.parametrize("right", [True, False])
def test_drafts_that_are_all_alike_are_no_trouble(right: bool) -> None:
    confidence = np.full(60, -3.0)
    found = forgone_shares(
        confidence, np.full(60, right), ["s", "t"] * 30, confidence=CONFIDENCE, always=40
    )
    assert np.isfinite(found).all()


def test_one_session_says_nothing_of_others() -> None:
    confidence, right, sessions, _ = world(500, 1)
    found = forgone_shares(confidence, right, ["s"] * 500, confidence=CONFIDENCE)
    assert (found[0], found[1:].min()) == (0.0, 1.0)
    assert forgone_shares(confidence, right, sessions, confidence=CONFIDENCE)[1] < 1.0


def test_right_drafts_that_are_parted_from_wrong_ones_cost_nothing() -> None:
    confidence = np.concatenate([np.linspace(-40, -20, 100), np.linspace(-2, 0, 50)])
    right = np.arange(150) >= 100
    sessions = [str(n) for n in range(150)]
    found = forgone_shares(confidence, right, sessions, confidence=CONFIDENCE)
    assert found[80] < 0.01
    assert found[110] > 0.1
