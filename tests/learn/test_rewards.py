from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.rewards import Reward, RewardMap, reward, survival
from liveweights.record.feedback import Feedback, Signal

MAP = RewardMap()


def said(signal: Signal, value: float | None = None, text: str | None = None) -> Feedback:
    now = datetime.now(UTC)
    return Feedback(id="i", generation="g", signal=signal, value=value, text=text, received_at=now)


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [
        ([said("accepted")], Reward(0.75, "accepted")),
        ([said("rejected")], Reward(-0.25, "rejected")),
        ([said("accepted"), said("rejected")], Reward(-0.25, "rejected")),
        ([said("accepted"), said("edited", text="")], Reward(-0.25, "edited")),
        ([said("edited", text="answer"), said("thumbs", -1)], Reward(-1.0, "thumbs")),
        ([said("thumbs", 1), said("reward", 0.3)], Reward(0.3, "reward")),
        ([said("correction", text="other")], Reward(-0.25, "correction")),
        ([said("shown")], None),
        ([said("comment", text="hm")], None),
        ([], None),
    ],
)
def test_the_strongest_then_the_latest_signal_decides(
    feedback: list[Feedback], expected: Reward | None
) -> None:
    assert reward("answer", feedback, MAP) == expected


def test_an_empty_answer_is_silence() -> None:
    assert reward("", [], MAP) == Reward(0.0, "silence")


@given(st.text(max_size=30), st.text(max_size=30))
def test_survival_is_a_share(output: str, surviving: str) -> None:
    assert 0.0 <= survival(output, surviving) <= 1.0
    assert survival(output, output) == (1.0 if output else 0.0)


def test_a_reward_outside_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rewards\.accepted"):
        RewardMap(accepted=2.0)
