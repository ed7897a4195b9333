from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import START, make_feedback, make_generation

from liveweights.learn.rewards import RewardMap, reward
from liveweights.learn.truth import Wish, read_wish
from liveweights.record.feedback import Feedback

REWARDS = RewardMap()
SAID = make_generation("g", output="foo(x)")
ACCEPTED, REJECTED = {"signal": "accepted"}, {"signal": "rejected"}
GONE = {"signal": "edited", "text": ""}


def say(*signals: dict[str, Any]) -> list[Feedback]:
    return [make_feedback(f"f{n}", "g", **signal) for n, signal in enumerate(signals)]


def edited(text: str) -> dict[str, Any]:
    return {"signal": "edited", "text": text}


def test_a_correction_says_more_than_an_accept_and_the_last_one_counts() -> None:
    first = {"signal": "correction", "text": "x = 2"}
    last = {"signal": "correction", "text": "x = 3"}
    assert read_wish(SAID, say(ACCEPTED), REWARDS) == Wish("foo(x)", True)
    assert read_wish(SAID, say(first, ACCEPTED, last), REWARDS) == Wish("x = 3", True)
    assert read_wish(SAID, say(first), REWARDS) == Wish("x = 2", False)
    assert read_wish(SAID, say(REJECTED), REWARDS) == Wish(None, False)
    assert read_wish(SAID, [], REWARDS) == Wish(None, None)
    assert read_wish(SAID, say({"signal": "shown"}), REWARDS) == Wish(None, None)


@pytest.mark.parametrize(
    ("signals", "taken"),
    [
        ((ACCEPTED, GONE), False),
        ((ACCEPTED, edited("foo(y)")), True),
        ((ACCEPTED, edited("f(")), None),
        ((ACCEPTED, REJECTED), False),
        ((REJECTED, ACCEPTED), True),
        ((ACCEPTED, {"signal": "thumbs", "value": -1.0}), False),
        ((ACCEPTED, {"signal": "reward", "value": -1.0}), False),
        ((REJECTED, {"signal": "thumbs", "value": 1.0}), None),
        (({"signal": "thumbs", "value": 1.0},), True),
        (({"signal": "thumbs", "value": -1.0},), False),
        (({"signal": "reward", "value": 0.1},), None),
        # What a task came to, what is left of it and what they said does not tell which text.
        (({"signal": "reward", "value": 1.0, "episode": "e"},), None),
        ((GONE,), None),
        (({"signal": "comment", "text": "No, that is wrong."},), None),
    ],
)
def test_what_was_taken_and_thrown_away_was_not_wanted(
    signals: tuple[dict[str, Any], ...], taken: bool | None
) -> None:
    assert read_wish(SAID, say(*signals), REWARDS) == Wish("foo(x)" if taken else None, taken)


def test_what_is_deleted_at_once_has_not_settled() -> None:
    """Half of it is left, which counts little at first and much later."""
    soon = make_feedback("b", "g", **edited("oo("), received_at=START.replace(second=9))
    late = make_feedback("c", "g", **edited("oo("), received_at=START.replace(second=50))
    accepted = make_feedback("a", "g", received_at=START.replace(second=1))
    assert read_wish(SAID, [accepted, soon], REWARDS).taken is True
    assert read_wish(SAID, [accepted, soon, late], REWARDS).taken is None


def test_who_counts_clicks_for_nothing_hears_none() -> None:
    rewards = RewardMap(click_weight=0.0)
    assert read_wish(SAID, say(ACCEPTED), rewards) == Wish(None, None)


SIGNALS = st.sampled_from(
    [
        ACCEPTED,
        REJECTED,
        GONE,
        edited("foo(y)"),
        {"signal": "thumbs", "value": 1.0},
        {"signal": "thumbs", "value": -1.0},
        {"signal": "reward", "value": 0.2},
        {"signal": "comment", "text": "No, that is wrong."},
        {"signal": "correction", "text": "x"},
    ]
)


@given(st.lists(SIGNALS, max_size=6))
def test_the_gate_never_holds_for_right_what_the_update_unlearns(
    signals: list[dict[str, Any]],
) -> None:
    said = say(*signals)
    wish = read_wish(SAID, said, REWARDS)
    earned = reward(SAID.output, said, REWARDS, completed=SAID.completed_at)
    assert earned is not None or wish.taken is None
    if wish.taken is not None:
        assert earned is not None
        assert (earned.value > REWARDS.silence) is wish.taken
