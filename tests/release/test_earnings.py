"""Silence is heard as seldom as what is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_feedback

from liveweights.learn.rewards import RewardMap, reward
from liveweights.record.answers import FollowUp, JudgedAnswer
from liveweights.record.feedback import Feedback, Mood
from liveweights.release.earnings import Earned, Earnings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REWARDS = RewardMap()


def judge_answers(answers: Iterable[JudgedAnswer], rewards: RewardMap) -> list[Earned | None]:
    """What each earned."""
    earnings = Earnings(rewards)
    for one in answers:
        earnings.add(one)
    return earnings.conclude()


def answer(number: int, output: str, *signals: str, finish_reason: str = "stop") -> JudgedAnswer:
    said: tuple[Feedback, ...] = tuple(
        make_feedback(f"f{number}", f"g{number}", signal=signal) for signal in signals
    )
    return JudgedAnswer(
        id=f"g{number}",
        checkpoint="m@1",
        created_at=NOW,
        tenant="t",
        session=None,
        surface="editor",
        language="python",
        output=output,
        finish_reason=finish_reason,
        total_ms=1.0,
        feedback=said,
    )


def draw(seed: int, reacted: float, hidden: bool) -> list[JudgedAnswer]:
    """2,000 prompts, half of them hard: right at 10%, else at 60%; the hard ones may be hidden."""
    rng = np.random.default_rng(seed)
    made: list[JudgedAnswer] = []
    for number in range(2000):
        chance = 0.1 if rng.random() < 0.5 else 0.6
        signal = "accepted" if rng.random() < chance else "rejected"
        heard = rng.random() < reacted
        if hidden and chance < 0.5:
            made.append(answer(number, ""))
        else:
            made.append(answer(number, "x", *([signal] if heard else [])))
    return made


def mean(answers: list[JudgedAnswer]) -> float:
    return float(np.mean([worth.value for worth in judge_answers(answers, REWARDS) if worth]))


@pytest.mark.parametrize("reacted", [1.0, 0.5, 0.2])
def test_the_gain_of_silence_does_not_hang_on_how_many_react(reacted: float) -> None:
    """True: 0.1 and 0.6 accepted are worth -0.15 and 0.35, so silence on the first gains 0.075."""
    gains = [
        mean(draw(seed, reacted, True)) - mean(draw(seed, reacted, False)) for seed in range(8)
    ]
    assert np.mean(gains) == pytest.approx(0.075, abs=0.02)


def test_where_nobody_reacts_silence_says_nothing_either() -> None:
    silent = [answer(number, "") for number in range(20)]
    assert judge_answers([*silent, answer(99, "x")], REWARDS) == [None] * 21


def test_where_all_is_reacted_to_or_silent_all_silences_count() -> None:
    silent = [answer(number, "") for number in range(20)]
    for shown in ([], [answer(99, "x", "accepted")]):
        assert None not in judge_answers([*silent, *shown], REWARDS)


def test_a_silence_that_was_reacted_to_counts_as_any_answer() -> None:
    thumbed = answer(0, "", "thumbs")
    thumbed = replace(thumbed, feedback=(replace(thumbed.feedback[0], value=-1.0),))
    (worth, _) = judge_answers([thumbed, answer(1, "x")], REWARDS)
    assert worth is not None
    assert worth.value == -1.0


def test_what_failed_or_was_broken_off_earns_nothing_and_changes_nothing() -> None:
    silent = [answer(number, "") for number in range(50)]
    shown = [answer(100, "x", "accepted"), answer(101, "x")]
    failed = [answer(200 + n, "x", "accepted", finish_reason="error") for n in range(50)]
    first = judge_answers([*silent, *shown], REWARDS)
    assert judge_answers([*silent, *shown, *failed], REWARDS) == [*first, *[None] * 50]


@given(st.integers(0, 30), st.integers(0, 30))
def test_with_more_reactions_no_silence_is_dropped_that_counted(few: int, more: int) -> None:
    silent = [answer(number, "") for number in range(40)]

    def counted(reactions: int) -> set[int]:
        shown = [answer(100 + n, "x", *(["accepted"] if n < reactions else [])) for n in range(60)]
        worth = judge_answers([*silent, *shown], REWARDS)[:40]
        return {number for number, one in enumerate(worth) if one}

    assert counted(few) <= counted(few + more)


LATER = NOW + timedelta(seconds=40)


def followed(mood: Mood, *signals: str, **changes: str) -> JudgedAnswer:
    return replace(answer(0, "x", *signals, **changes), follow_up=FollowUp(mood, LATER))


@pytest.mark.parametrize(
    ("mood", "said"), [("dissatisfied", "No, wrong."), ("satisfied", "Thanks!"), ("neutral", "Go")]
)
def test_what_a_user_said_next_is_worth_what_it_is_in_learning(mood: Mood, said: str) -> None:
    learnt = reward("x", [make_feedback("f", "g0", signal="comment", text=said)], REWARDS)
    for signals in ((), ("shown",)):
        (earned,) = judge_answers([followed(mood, *signals)], REWARDS)
        assert (earned and (earned.value, earned.signal, earned.at)) == (
            learnt and (learnt.value, learnt.signal, LATER)
        )


@pytest.mark.parametrize("signal", ["accepted", "rejected", "correction", "comment"])
def test_a_reaction_that_was_sent_counts_alone(signal: str) -> None:
    sent, both = answer(0, "x", signal), followed("dissatisfied", signal)
    assert judge_answers([both], REWARDS) == judge_answers([sent], REWARDS)


def test_words_that_do_not_count_in_learning_do_not_here() -> None:
    assert judge_answers([followed("satisfied")], RewardMap(words_weight=0.0)) == [None]


@pytest.mark.parametrize("reason", ["error", "cancelled"])
def test_what_followed_a_broken_answer_says_nothing(reason: str) -> None:
    assert judge_answers([followed("dissatisfied", finish_reason=reason)], REWARDS) == [None]
