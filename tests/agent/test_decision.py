from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.agent.decision import (
    LAST,
    Bounds,
    Spent,
    next_move,
    refuse_call,
    tell_last,
)

BOUNDS = Bounds(steps=5, calls=6, repeats=2, tokens=100, nanos=50, ends=10.0)


@pytest.mark.parametrize(
    ("spent", "now", "move"),
    [
        (Spent(steps=1), 0.0, "act"),
        (Spent(steps=4), 0.0, "conclude"),
        (Spent(steps=1, calls=6), 0.0, "conclude"),
        (Spent(steps=1, tokens=100), 0.0, "max_output_tokens"),
        (Spent(steps=1), 10.0, "max_time"),
        (Spent(steps=1, nanos=50), 0.0, "max_cost"),
        (Spent(steps=4, tokens=100), 11.0, "max_output_tokens"),
    ],
)
def test_each_bound_ends_it_or_takes_the_tools_away(spent: Spent, now: float, move: str) -> None:
    assert next_move(BOUNDS, spent, now) == move


def test_without_a_bound_on_money_none_ends_it() -> None:
    assert next_move(replace(BOUNDS, nanos=None), Spent(steps=1, nanos=10**18), 0.0) == "act"


def test_the_same_call_is_made_so_often_only() -> None:
    spent = Spent(steps=1)
    assert refuse_call(BOUNDS, spent, "search", "{}") is None
    spent.count("search", "{}")
    assert next_move(BOUNDS, spent, 0.0) == "act"
    spent.count("search", "{}")
    assert "2 times" in (refuse_call(BOUNDS, spent, "search", "{}") or "")
    assert refuse_call(BOUNDS, spent, "search", '{"query": "other"}') is None
    assert next_move(BOUNDS, spent, 0.0) == "conclude"


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "3"])), max_size=40),
    st.integers(0, 30),
)
def test_every_episode_ends(calls: list[tuple[str, str]], tokens: int) -> None:
    """However a model behaves, there are no more steps than are allowed, nor calls."""
    spent, move, made = Spent(), "act", 0
    for name, arguments in calls or [("a", "1")]:
        spent.steps += 1
        spent.tokens += tokens
        if move == "act" and refuse_call(BOUNDS, spent, name, arguments) is None:
            made += 1
        spent.count(name, arguments)
        if move == "conclude":
            break
        move = next_move(BOUNDS, spent, 0.0)
        if move not in ("act", "conclude"):
            break
    assert spent.steps <= BOUNDS.steps
    assert made <= BOUNDS.calls
    assert spent.tokens < BOUNDS.tokens + 2 * (tokens + 1)


def test_the_model_is_told_that_it_has_to_answer() -> None:
    assert tell_last("found") == f"found\n\n{LAST}"
