from __future__ import annotations

import pytest

from liveweights.gate.scoring import Values, score_answers


def test_rewards_by_what_the_user_wanted() -> None:
    answers = ["return x", "return x \n", "return y", "", "  ", ""]
    truths = ["return x", "return x", "return x", "return x", "return x", ""]
    values = Values(accepted=0.75, silence=0.0, rejected=-0.25)
    assert score_answers(answers, truths, values) == [0.75, 0.75, -0.25, 0.0, 0.0, 0.0]


def test_indentation_counts() -> None:
    assert score_answers(["  return"], ["return"], Values()) == [-0.25]


def test_every_answer_needs_its_truth() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score_answers(["a", "b"], ["a"], Values())
