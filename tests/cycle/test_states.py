from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.cycle.states import FOLLOWING, IllegalTransition, State, check, is_due

states = st.sampled_from(get_args(State))


@given(states, states)
def test_only_what_is_listed_may_follow(before: State, after: State) -> None:
    if after in FOLLOWING[before]:
        check(before, after)
    else:
        with pytest.raises(IllegalTransition, match=before):
            check(before, after)


def test_every_state_can_end_and_none_comes_back() -> None:
    order = ["claiming", "learning", "warming", "gating", "canary", "ended"]
    for before, after in FOLLOWING.items():
        assert all(order.index(state) > order.index(before) for state in after)
        assert before == "ended" or "ended" in after


@pytest.mark.parametrize(
    ("fresh", "seconds", "due"),
    [(0, 1e9, False), (1, 10, False), (1, 100, True), (50, 0, True), (49, 99, False)],
)
def test_due_by_number_or_by_time(fresh: int, seconds: float, due: bool) -> None:
    assert is_due(fresh, seconds, every=100, min_feedback=50) == due
