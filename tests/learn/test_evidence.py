from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.record.rows import make_feedback, make_generation

from liveweights.learn.evidence import make_questions, most_moved, score_with_entropy
from liveweights.learn.job import HeldBack
from liveweights.learn.policy import Policy
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.record.example import Example


def held(id: str, before: float, after: float, truth: tuple[float, float] | None) -> HeldBack:
    return HeldBack(
        generation=id,
        session=id,
        reward=0.0,
        candidate_answer=[after, after],
        incumbent_answer=[before, before],
        behaviour=[before, before],
        incumbent_truth=truth[0] if truth else None,
        candidate_truth=truth[1] if truth else None,
    )


def test_what_moved_most_comes_first_in_either_direction() -> None:
    rows = [
        held("a", -1.0, -1.1, None),
        held("b", -1.0, -3.0, (-4.0, -1.0)),
        held("c", -1, -1, None),
    ]
    found = most_moved(rows, count=3)
    assert [(m.generation, m.text, m.before, m.after) for m in found] == [
        ("b", "truth", -4.0, -1.0),
        ("b", "answer", -1.0, -3.0),
        ("a", "answer", -1.0, -1.1),
    ]


def test_the_likelihood_of_what_was_taken_and_deleted_proves_nothing() -> None:
    kept = Example(make_generation("a"), (make_feedback("f", "a"),))
    gone = make_feedback("h", "b", signal="edited", text="")
    thrown = Example(make_generation("b"), (make_feedback("g", "b"), gone))
    questions = make_questions([kept, thrown], RewardMap(), lambda text: list(map(ord, text)))
    assert [question.truth_ids for question in questions] == [list(map(ord, "x = 1")), []]
    assert [question.reward for question in questions] == pytest.approx([0.75, -1.25 / 9])


@pytest.mark.parametrize("headless", [True, False])
def test_answers_are_scored_with_the_entropy_of_each_place(tiny: Path, headless: bool) -> None:
    policy = Policy(tiny, None, LearnSettings())
    assert policy.headless
    paths = [TokenRow([1, 2, 3], [4, 5]), TokenRow([1, 2], [6, 7, 8]), TokenRow([9], [1])]
    with torch.no_grad():
        exact = [policy.logits([path])[0] for path in paths]
    policy.headless = headless
    scores, entropies = score_with_entropy(policy, paths, [1.0, 0.5, 2.0], 8)
    for path, heat, logits_TV, score_T, entropy_T in zip(
        paths, [1.0, 0.5, 2.0], exact, scores, entropies, strict=True
    ):
        answer = list(path.answer_ids)
        right_T = (logits_TV / heat).log_softmax(-1)[range(len(answer)), answer]
        assert torch.allclose(score_T, right_T, atol=1e-5)
        spread_T = torch.distributions.Categorical(logits=logits_TV).entropy()
        assert torch.allclose(entropy_T, spread_T, atol=1e-5)
