from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.states import (
    FOLLOWING,
    IllegalTransition,
    News,
    State,
    check,
    decide_start,
    due_in,
)

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
    start = decide_start(News(judged, followed, since_start, since_end=30), SETTINGS)
    assert start.is_due == due
    assert due == (start.waits_for == "")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e9), st.floats(0, 29.9))
def test_no_flood_starts_cycles_back_to_back(
    judged: int, followed: int, since_start: float, since_end: float
) -> None:
    start = decide_start(News(judged, followed, since_start, since_end), SETTINGS)
    assert not start.is_due
    assert "of rest" in start.waits_for


def test_the_first_cycle_waits_for_none_before_it() -> None:
    assert decide_start(News(50, 0, since_start=0, since_end=math.inf), SETTINGS).is_due


@pytest.mark.parametrize(
    ("judged", "wanted", "due"),
    [(9, 10, False), (10, 10, True), (49, 10**6, False), (50, 60, True)],
)
def test_without_what_is_wanted_time_is_no_reason(judged: int, wanted: int, due: bool) -> None:
    start = decide_start(News(judged, 5, since_start=1e6, since_end=1e6), SETTINGS, wanted=wanted)
    assert start.is_due == due
    if not due:
        assert start.waits_for.startswith(f"{min(wanted, 50)} answers")


@pytest.mark.parametrize(
    ("judged", "followed", "due"), [(0, 9, False), (0, 10, True), (4, 6, True), (0, 50_000, True)]
)
def test_next_messages_count_where_they_may(judged: int, followed: int, due: bool) -> None:
    news = News(judged, followed, since_start=1e6, since_end=1e6)
    start = decide_start(news, SETTINGS, wanted=10, follow_ups=True)
    assert start.is_due == due
    assert not decide_start(news, SETTINGS, wanted=10).is_due
    if not due:
        assert start.waits_for.startswith("10 answers with new feedback or a next message (9 ")


def test_a_pause_grows_up_to_the_time_between_cycles() -> None:
    news = News(50, 0, since_start=1e6, since_end=59)
    assert decide_start(news, SETTINGS).is_due
    assert not decide_start(news, SETTINGS, pause=2).is_due
    later = News(50, 0, since_start=1e6, since_end=100)
    assert decide_start(later, SETTINGS, pause=64).is_due


@given(
    st.builds(
        News,
        st.integers(0, 100),
        st.one_of(st.integers(0, 3), st.integers(0, 200)),
        st.floats(0, 500),
        st.one_of(st.floats(0, 500), st.just(math.inf)),
    ),
    st.fixed_dictionaries(
        {"pause": st.integers(1, 64), "wanted": st.integers(0, 100), "follow_ups": st.booleans()}
    ),
)
def test_a_cycle_begins_when_it_was_told_to(news: News, how: dict[str, Any]) -> None:
    wait = due_in(news, SETTINGS, **how)
    if wait is None:
        late = News(news.judged, news.followed, math.inf, math.inf)
        assert not decide_start(late, SETTINGS, **how).is_due
        return
    assert wait >= 0
    assert decide_start(news, SETTINGS, **how).is_due == (wait == 0)
    passed = wait + 1e-6
    later = News(news.judged, news.followed, news.since_start + passed, news.since_end + passed)
    assert decide_start(later, SETTINGS, **how).is_due


@given(st.integers(0, 100), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_what_is_said_more_never_defers_a_cycle(
    judged: int, followed: int, wanted: int, follow_ups: bool
) -> None:
    def is_due(judged: int, followed: int) -> bool:
        news = News(judged, followed, since_start=1e6, since_end=1e6)
        return decide_start(news, SETTINGS, wanted=wanted, follow_ups=follow_ups).is_due

    if is_due(judged, followed):
        assert is_due(judged + 1, followed)
        assert is_due(judged, followed + 1)
