from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.learn.selection import Shown, confidence, first_selection, fit_selection


def shown(sure: float, gain: float, logprob: float = 0.0) -> Shown:
    return Shown(sure, gain, logprob, "u", "t")


answers = st.lists(
    st.builds(shown, st.floats(-40, 0), st.sampled_from([0.25, -0.75])), min_size=1, max_size=60
)


def drawn(count: int, seed: int = 0) -> list[Shown]:
    """Answers that are right with probability sigmoid(0.5 c + 3)."""
    draw = random.Random(seed)
    found: list[Shown] = []
    for _ in range(count):
        sure = draw.uniform(-20, 0)
        right = draw.random() < 1 / (1 + math.exp(-0.5 * sure - 3))
        found.append(shown(sure, -0.75 if right else 0.25))
    return found


def test_confidence_is_of_the_first_tokens() -> None:
    assert confidence([-1.0, -2.0, -4.0], tokens=2) == -3.0


def test_the_first_takes_the_model_at_its_word() -> None:
    first = first_selection(0.75, 0.25)
    # Shown where exp(c) / (1 + ...) times 0.75 outweighs 0.25.
    assert first.shows(-1.0)
    assert not first.shows(-1.2)


def test_without_reactions_nothing_changes() -> None:
    first = first_selection(0.75, 0.25)
    assert fit_selection(first, [], keep=0.8, most_withheld=0.4) == first


def test_finds_where_showing_pays() -> None:
    """With costs of 3 to 1 it pays where the answer is right once in four times."""
    first = first_selection(0.75, 0.25)
    found = fit_selection(first, drawn(4000), keep=0.8, most_withheld=1.0)
    pays = (math.log(1 / 3) - 3) / 0.5
    assert -found.intercept / found.slope == pytest.approx(pays, abs=0.5)


def test_knowledge_adds_up_over_cycles() -> None:
    everything = drawn(600)
    found = first_selection(0.75, 0.25)
    for part in (everything[:200], everything[200:400], everything[400:]):
        found = fit_selection(found, part, keep=1.0, most_withheld=1.0)
    at_once = fit_selection(first_selection(0.75, 0.25), everything, keep=1.0, most_withheld=1.0)
    assert -found.intercept / found.slope == pytest.approx(
        -at_once.intercept / at_once.slope, abs=0.5
    )
    precision = np.array(found.precision).reshape(2, 2)
    assert np.linalg.eigvalsh(precision).min() > 0


def test_what_was_shown_seldom_stands_for_what_was_not() -> None:
    """Half of the unsure answers are missing, and each of the others counts twice."""
    everything = drawn(4000)
    seldom = [
        shown(one.confidence, one.weight, math.log(0.5))
        for place, one in enumerate(everything)
        if one.confidence < -8 and place % 2
    ]
    often = [one for one in everything if one.confidence >= -8]
    first = first_selection(0.75, 0.25)
    whole = fit_selection(first, everything, keep=0.8, most_withheld=1.0)
    found = fit_selection(first, [*seldom, *often], keep=0.8, most_withheld=1.0)
    assert found.slope == pytest.approx(whole.slope, rel=0.1)
    assert found.intercept == pytest.approx(whole.intercept, rel=0.1)


@given(answers, st.floats(0, 1))
@settings(deadline=None)
def test_withholds_no_more_than_it_may(given_answers: list[Shown], most: float) -> None:
    found = fit_selection(first_selection(0.75, 0.25), given_answers, keep=0.8, most_withheld=most)
    withheld = sum(not found.shows(one.confidence + 1e-9) for one in given_answers)
    assert withheld <= most * len(given_answers)
    assert found.slope > 0
    assert math.isfinite(found.intercept)


@given(answers)
@settings(deadline=None)
def test_a_rejection_never_shows_more(given_answers: list[Shown]) -> None:
    first = first_selection(0.75, 0.25)
    sure = sum(one.confidence for one in given_answers) / len(given_answers)
    before = fit_selection(first, given_answers, keep=0.8, most_withheld=1.0)
    after = fit_selection(first, [*given_answers, shown(sure, 0.25)], keep=0.8, most_withheld=1.0)
    assert after.slope * sure + after.intercept <= before.slope * sure + before.intercept + 1e-6
