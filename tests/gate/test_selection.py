from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.learn.voters import SOMEBODY

from liveweights.gate.selection import Drafted, fit_selection, show_from
from liveweights.weights.selection import Selection, confidence


def drafted(sure: float, gain: float) -> Drafted:
    return Drafted(sure, gain, SOMEBODY)


def fit(drafts: list[Drafted]) -> Selection:
    return fit_selection(drafts, 0.75, 0.25)


drafts = st.lists(
    st.builds(drafted, st.floats(-40, 0), st.sampled_from([0.25, -0.75])), min_size=1, max_size=60
)


def drawn(count: int, seed: int = 0) -> list[Drafted]:
    """Drafts that are right with probability sigmoid(0.5 c + 3)."""
    draw = random.Random(seed)
    made: list[Drafted] = []
    for _ in range(count):
        sure = draw.uniform(-20, 0)
        right = draw.random() < 1 / (1 + math.exp(-0.5 * sure - 3))
        made.append(drafted(sure, -0.75 if right else 0.25))
    return made


def test_confidence_is_of_the_first_tokens() -> None:
    assert confidence([-1.0, -2.0, -4.0], tokens=2) == -3.0


def test_without_drafts_the_model_is_taken_at_its_word() -> None:
    first = fit([])
    # Shown where exp(c) times 3 outweighs 1.
    assert first.shows(-1.0)
    assert not first.shows(-1.2)


def test_finds_where_showing_pays() -> None:
    """With costs of 3 to 1 it pays where the answer is right once in four times."""
    selection = fit(drawn(4000))
    pays = (math.log(1 / 3) - 3) / 0.5
    assert -selection.intercept / selection.slope == pytest.approx(pays, abs=0.5)


@given(st.floats(0.02, 10), st.floats(-40, 0), st.floats(-60, 0))
def test_shows_from_where_it_is_told(slope: float, least: float, other: float) -> None:
    selection = show_from(Selection(slope=slope, intercept=0.0), least)
    assert selection.slope == slope
    assert selection.shows(other) == (other >= least) or math.isclose(other, least)


@given(drafts)
@settings(deadline=None)
def test_a_rejection_never_shows_more(given_drafts: list[Drafted]) -> None:
    sure = sum(one.confidence for one in given_drafts) / len(given_drafts)
    before, after = fit(given_drafts), fit([*given_drafts, drafted(sure, 0.25)])
    assert after.slope * sure + after.intercept <= before.slope * sure + before.intercept + 1e-6
