from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from liveweights.learn.baseline import Baseline
from liveweights.learn.rewards import RewardMap
from liveweights.learn.rows import Row, Rows, build_rows, cap_users
from liveweights.learn.settings import LearnSettings
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.window import Example

NOW = datetime.now(UTC)
END = 99


def example(output: str, *signals: tuple[Any, str | None], **changes: Any) -> Example:
    given: dict[str, Any] = {
        "id": "g",
        "created_at": NOW,
        "alias": "code",
        "checkpoint": "m@1",
        "endpoint": "completion",
        "prompt_ids": [1, 2],
        "output_ids": [3, 4],
        "logprobs": [-0.1, -0.2],
        "raw_logprobs": [-0.3, -0.4],
        "output": output,
        "finish_reason": "stop",
        "temperature": 0.5,
        "top_p": 1.0,
        "healed": " ",
        "user": "u",
    }
    feedback = tuple(
        Feedback(id=str(n), generation="g", signal=signal, text=text, received_at=NOW)
        for n, (signal, text) in enumerate(signals)
    )
    return Example(Generation(**{**given, **changes}), feedback)


def rows_of(*examples: Example, settings: LearnSettings | None = None) -> Rows:
    def encode(text: str) -> list[int]:
        return [ord(c) for c in text]

    return build_rows(
        examples, Baseline.empty(), RewardMap(), settings or LearnSettings(), encode, END
    )


def test_a_rejected_completion_teaches_three_things() -> None:
    built = rows_of(example("bad", ("rejected", None), ("correction", "ok\n")))
    by_role = {row.role: row for row in built.rows}
    assert set(by_role) == {"policy", "correction", "silence"}
    assert by_role["correction"].answer_ids == [ord(c) for c in " ok\n"]
    assert by_role["silence"].answer_ids == [END]
    assert by_role["silence"].weight == pytest.approx(0.25)
    assert by_role["silence"].silence is None
    # Neither the answer nor the correction says that something should have been said.
    assert by_role["policy"].silence == by_role["correction"].silence == END


def test_silence_is_weighed_by_what_it_would_have_earned_more() -> None:
    def gain(example: Example, **changes: Any) -> list[float]:
        built = rows_of(example, settings=LearnSettings(**changes))
        return [row.weight for row in built.rows if row.role == "silence"]

    accepted, rejected = example("good", ("accepted", None)), example("bad", ("rejected", None))
    assert gain(accepted) == pytest.approx([-0.75])
    assert gain(rejected, silence_weight=0.5) == pytest.approx([0.125])
    assert gain(rejected, silence_weight=0.0) == []
    assert gain(example("", finish_reason="stop")) == []
    assert gain(example("bad", ("rejected", None), endpoint="chat")) == []


def test_an_answer_without_probabilities_is_a_preference() -> None:
    (row, _) = rows_of(example("good", ("accepted", None), logprobs=[])).rows
    assert (row.role, row.behaviour, row.answer_ids) == ("preference", [], [3, 4])
    built = rows_of(example("good", ("accepted", None), logprobs=[], output_ids=[]))
    assert built.rows[0].answer_ids == [ord(c) for c in " good"]
    assert built.counts == {"accepted": 1, "no_logprobs": 1}


def test_the_recorded_probabilities_are_those_of_the_sampling_distribution() -> None:
    sampled, _ = rows_of(example("good", ("accepted", None))).rows
    assert (sampled.behaviour, sampled.temperature) == ([-0.1, -0.2], 0.5)
    greedy, _ = rows_of(example("good", ("accepted", None), temperature=0.0)).rows
    assert (greedy.behaviour, greedy.temperature) == ([-0.3, -0.4], 1.0)


def test_the_advantage_is_from_the_segments_baseline() -> None:
    built = rows_of(example("good", ("accepted", None)), example("bad", ("rejected", None), id="h"))
    weights = [row.weight for row in built.rows if row.role == "policy"]
    assert weights == pytest.approx([1.0, -1.0])  # neither is part of its own baseline
    assert built.mean_reward == pytest.approx(0.25)


def test_what_nobody_reacted_to_is_counted_not_used() -> None:
    built = rows_of(example("text", ("shown", None)))
    assert (built.rows, built.counts) == ([], {"no_reward": 1})


def test_no_user_holds_more_than_the_share() -> None:
    def row(user: str, weight: float) -> Row:
        return Row("policy", "g", "s", user, [1], [2], weight, [0.0], 1.0)

    rows = [row("loud", 1.0)] * 8 + [row("one", 1.0), row("two", -1.0)]
    capped = cap_users(rows, 0.5)
    assert sum(abs(r.weight) for r in capped if r.user == "loud") == pytest.approx(5.0)
    assert [r.weight for r in capped if r.user != "loud"] == [1.0, -1.0]
