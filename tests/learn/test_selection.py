from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.learn.voters import SOMEBODY

from liveweights.learn.selection import Shown, confidence, first_selection, fit_selection
from liveweights.weights.selection import Selection


def shown(sure: float, gain: float, logprob: float = 0.0) -> Shown:
    return Shown(sure, gain, logprob, SOMEBODY)


FIRST = first_selection(0.75, 0.25)


def fit(
    answers: list[Shown],
    before: Selection | None = None,
    *,
    keep: float = 0.8,
    most_withheld: float = 1.0,
) -> Selection:
    found = fit_selection(before, FIRST, answers, keep=keep, most_withheld=most_withheld)
    assert found is not None
    return found


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
    # Shown where exp(c) times 3 outweighs 1.
    assert FIRST.shows(-1.0)
    assert not FIRST.shows(-1.2)


def test_without_reactions_nothing_changes() -> None:
    assert fit_selection(None, FIRST, [], keep=0.8, most_withheld=0.4) is None
    assert fit([], FIRST) == FIRST


def test_finds_where_showing_pays() -> None:
    """With costs of 3 to 1 it pays where the answer is right once in four times."""
    found = fit(drawn(4000))
    pays = (math.log(1 / 3) - 3) / 0.5
    assert -found.intercept / found.slope == pytest.approx(pays, abs=0.5)


def test_knowledge_adds_up_over_cycles() -> None:
    everything = drawn(600)
    found: Selection | None = None
    for part in (everything[:200], everything[200:400], everything[400:]):
        found = fit(part, found, keep=1.0)
    assert found is not None
    at_once = fit(everything, keep=1.0)
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
    whole, found = fit(everything), fit([*seldom, *often])
    assert found.slope == pytest.approx(whole.slope, rel=0.1)
    assert found.intercept == pytest.approx(whole.intercept, rel=0.1)


@given(answers, st.floats(0, 1), st.floats(-20, 0) | st.none())
@settings(deadline=None)
def test_withholds_no_more_than_it_may(
    given_answers: list[Shown], most: float, least: float | None
) -> None:
    before = None
    if least is not None:
        before = Selection(slope=1.0, intercept=-least, precision=(1.0, 0.0, 0.0, 1.0))
    found = fit(given_answers, before, most_withheld=most)
    now = [one for one in given_answers if before is None or before.shows(one.confidence)]
    assert sum(not found.shows(one.confidence + 1e-9) for one in now) <= most * len(now)
    assert found.slope > 0
    assert math.isfinite(found.intercept)


@given(answers)
@settings(deadline=None)
def test_a_rejection_never_shows_more(given_answers: list[Shown]) -> None:
    sure = sum(one.confidence for one in given_answers) / len(given_answers)
    before, after = fit(given_answers), fit([*given_answers, shown(sure, 0.25)])
    assert after.slope * sure + after.intercept <= before.slope * sure + before.intercept + 1e-6
