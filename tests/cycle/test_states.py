from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.states import FOLLOWING, IllegalTransition, News, State, check, is_due

states = st.sampled_from(get_args(State))


@given(states, states)
def test_only_what_is_listed_may_follow(before: State, after: State) -> None:
    if after in FOLLOWING[before]:
        check(before, after)
    else:
        with pytest.raises(IllegalTransition, match=before):
            check(before, after)


def test_every_state_can_end_and_none_comes_back() -> None:
    order = ["claiming", "learning", "calibrating", "warming", "gating", "canary", "ended"]
    for before, after in FOLLOWING.items():
        assert all(order.index(state) > order.index(before) for state in after)
        assert before == "ended" or "ended" in after


SETTINGS = CycleSettings(every=100, min_feedback=50, rest=30)


@pytest.mark.parametrize(
    ("judged", "followed", "since_start", "due"),
    [
        (0, 0, 1e9, False),
        (1, 0, 50, False),
        (1, 0, 100, True),
        (0, 1, 100, True),
        (50, 0, 40, True),
        (49, 0, 99, False),
        (49, 10_000, 99, False),  # what follows in a chat mostly says nothing of the answer
    ],
)
def test_due_by_number_or_by_time(
    judged: int, followed: int, since_start: float, due: bool
) -> None:
    assert is_due(News(judged, followed, since_start, since_end=30), SETTINGS) == due


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e9), st.floats(0, 29.9))
def test_no_flood_starts_cycles_back_to_back(
    judged: int, followed: int, since_start: float, since_end: float
) -> None:
    assert not is_due(News(judged, followed, since_start, since_end), SETTINGS)


def test_the_first_cycle_waits_for_none_before_it() -> None:
    assert is_due(News(50, 0, since_start=0, since_end=math.inf), SETTINGS)
