from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.weights.selection import Selection, read_selection, write_selection


def selection(slope: float = 0.5, intercept: float = 2.0) -> Selection:
    return Selection(slope=slope, intercept=intercept)


@given(st.floats(-30, 0), st.floats(0, 1, exclude_max=True), st.floats(0.1, 2))
def test_a_draw_is_below_the_probability_exactly_where_the_answer_is_shown(
    confidence: float, uniform: float, temperature: float
) -> None:
    chosen = selection()
    chance = math.exp(chosen.logprob(confidence, temperature, shown=True))
    if abs(uniform - chance) > 1e-9 and not math.isclose(confidence, chosen.threshold):
        assert (confidence >= chosen.least(uniform, temperature)) == (uniform < chance)


@given(st.floats(-100, 0), st.floats(0.1, 2))
def test_shown_and_withheld_are_all_there_is(confidence: float, temperature: float) -> None:
    both = [selection().logprob(confidence, temperature, shown=shown) for shown in (True, False)]
    assert math.isclose(sum(map(math.exp, both)), 1.0)


@given(st.floats(-100, 0), st.floats(0, 1, exclude_max=True), st.floats(0.0, 2))
def test_chance_only_makes_it_say_more(
    confidence: float, uniform: float, temperature: float
) -> None:
    chosen = selection()
    assert chosen.least(uniform, temperature) <= chosen.threshold
    if chosen.shows(confidence):
        assert confidence >= chosen.least(uniform, temperature)
        assert chosen.logprob(confidence, temperature, shown=True) == 0.0


def test_below_the_threshold_it_may_be_said() -> None:
    chosen = selection()
    below = chosen.threshold - 0.5
    assert 0.0 < math.exp(chosen.logprob(below, 1.0, shown=True)) < 0.5
    assert chosen.least(0.1, 1.0) < below < chosen.least(0.9, 1.0) == chosen.threshold


@given(st.floats(-20, 0), st.floats(0, 1, exclude_max=True))
def test_without_temperature_there_is_no_chance(confidence: float, uniform: float) -> None:
    chosen = selection()
    assert chosen.logprob(confidence, 0.0, shown=True) == 0.0
    if abs(confidence + 4.0) > 1e-9:
        assert (confidence >= chosen.least(uniform, 0.0)) == chosen.shows(confidence)


def test_lies_beside_the_weights(tmp_path: Path) -> None:
    assert read_selection(tmp_path) is None
    write_selection(tmp_path, selection())
    assert read_selection(tmp_path) == selection()
    (tmp_path / "selection.json").write_text('{"slope": "steep"}')
    with pytest.raises(ValueError, match=r"selection\.json is not a selection.*slope"):
        read_selection(tmp_path)
