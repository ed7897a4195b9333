from __future__ import annotations

import itertools
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import START, make_feedback, make_generation

from liveweights.learn.baseline import Baseline
from liveweights.learn.conduct import measure_conduct
from liveweights.learn.credit import assign_credit
from liveweights.learn.rewards import RewardMap
from liveweights.learn.rows import Rows, build_rows
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example, find_episodes
from liveweights.record.feedback import Feedback

MAP = RewardMap()


def episode(
    name: str, count: int, *outcomes: float, own: dict[int, float] | None = None, **changes: Any
) -> list[Example]:
    """``count`` steps; every outcome is said of each of them."""
    examples: list[Example] = []
    for step in range(count):
        id = f"{name}-{step}"
        feedback: list[Feedback] = []
        for number, value in enumerate(outcomes):
            at = START + timedelta(days=1, seconds=number)
            feedback.append(
                make_feedback(f"o{number}/{id}", id, signal="reward", value=value, episode=name,
                              received_at=at)
            )  # fmt: skip
        if own and step in own:
            feedback.append(make_feedback(f"own/{id}", id, signal="reward", value=own[step]))
        given: dict[str, Any] = {
            "created_at": START + timedelta(minutes=step), "endpoint": "chat", "session": name,
            "user": f"user of {name}", "prompt_ids": list(range(1, 4 + 3 * step)),
        }  # fmt: skip
        examples.append(Example(make_generation(id, **{**given, **changes}), tuple(feedback)))
    return examples


def build(examples: list[Example], **settings: Any) -> Rows:
    shares: dict[str, Any] = {
        "user_share": 1.0,
        "new_share": 1.0,
        "key_share": 1.0,
        "tenant_share": 1.0,
    }
    return build_rows(
        examples,
        Baseline.empty(),
        MAP,
        LearnSettings(**{**shares, **settings}),
        encode=lambda text: [ord(c) for c in text],
    )


lengths = st.lists(st.tuples(st.integers(1, 5), st.floats(-1, 1)), min_size=1, max_size=6)


@given(lengths, st.randoms(use_true_random=False))
def test_credit_does_not_depend_on_the_order_of_arrival(
    told: list[tuple[int, float]], draw: random.Random
) -> None:
    examples = [e for n, (count, r) in enumerate(told) for e in episode(f"e{n}", count, r)]
    weights = {row.generation: row.weight for row in build(examples).rows}
    shuffled = list(examples)
    draw.shuffle(shuffled)
    again, before = build(shuffled), build(examples)
    assert {row.generation: row.weight for row in again.rows} == pytest.approx(weights)
    assert again.baseline.weight == before.baseline.weight
    assert again.baseline.total == pytest.approx(before.baseline.total)


@given(lengths)
def test_every_step_has_the_episodes_advantage_over_the_other_episodes(
    told: list[tuple[int, float]],
) -> None:
    prior = 3.0
    examples = [e for n, (count, r) in enumerate(told) for e in episode(f"e{n}", count, r)]
    built = build(examples, baseline_prior=prior)
    total = sum(value for _, value in told)
    for number, (count, value) in enumerate(told):
        # Shrunk to the mean of all, which in one segment is its own: the mean of the others.
        others = (total - value) / (len(told) - 1) if len(told) > 1 else 0.0
        weights = [row.weight for row in built.rows if row.generation.startswith(f"e{number}-")]
        assert weights == pytest.approx([value - others] * count)
    # An episode is counted once, however many steps it has.
    assert sum(built.baseline.weight.values()) == len(told)
    assert built.mean_reward == pytest.approx(total / len(told))


@given(st.integers(1, 8), st.floats(0.01, 1), st.floats(-1, 1))
def test_discounted_credits_are_a_geometric_series(count: int, discount: float, r: float) -> None:
    settings = LearnSettings(credit="discounted", discount=discount)
    credits = assign_credit(episode("e", count, r), MAP, settings)
    assert credits[-1].share == 1.0
    for earlier, later in itertools.pairwise(credits):
        assert earlier.share == pytest.approx(discount * later.share)
    whole = count if discount == 1 else (1 - discount**count) / (1 - discount)
    assert sum(credit.share for credit in credits) == pytest.approx(whole)


@given(st.integers(1, 5), st.lists(st.floats(-1, 1), min_size=1, max_size=4))
def test_the_last_outcome_decides_however_late_it_came(count: int, said: list[float]) -> None:
    credits = assign_credit(episode("e", count, *said), MAP, LearnSettings())
    assert [credit.reward.value for credit in credits] == [said[-1]] * count
    assert [credit.counts for credit in credits] == [True] + [False] * (count - 1)


def test_an_outcome_that_is_sent_again_for_a_later_step_changes_no_revision() -> None:
    examples = episode("e", 2, 1.0, -1.0)
    late = episode("e", 3)[2]
    again = make_feedback(
        "o0/e-2", "e-2", signal="reward", value=1.0, episode="e",
        received_at=START + timedelta(days=3),
    )  # fmt: skip
    examples.append(Example(late.generation, (again,)))
    credits = assign_credit(examples, MAP, LearnSettings())
    assert [credit.reward.value for credit in credits] == [-1.0] * 3


def test_step_signals_are_the_steps_own_where_that_is_set() -> None:
    examples = episode("e", 3, 1.0, own={1: -0.5})
    values = {
        credit: [c.reward.value for c in assign_credit(examples, MAP, LearnSettings(credit=credit))]
        for credit in ("outcome", "steps")
    }
    assert values == {"outcome": [1.0, 1.0, 1.0], "steps": [1.0, -0.5, 1.0]}
    # Without an outcome they count in any case.
    alone = assign_credit(episode("e", 2, own={0: 0.5}), MAP, LearnSettings())
    assert [credit.reward.value for credit in alone] == [0.5]


def test_one_long_episode_makes_nobody_known() -> None:
    built = build(episode("e", 30, 1.0))
    assert not any(row.voter.known for row in built.rows)
    many = [e for n in range(8) for e in episode(f"e{n}", 2, 1.0, user="ada")]
    assert all(row.voter.known for row in build(many).rows)


def test_only_what_the_model_sampled_is_trained() -> None:
    """A later step's prompt holds the tool's output and the user's text, and no row answers it."""
    examples = episode("e", 3, 1.0)
    for row, example in zip(build(examples).rows, examples, strict=True):
        assert row.answer_ids == example.generation.output_ids
        assert row.prompt_ids == example.generation.prompt_ids
        assert len(row.behaviour) == len(row.answer_ids)


def test_words_about_an_episode_teach_where_it_ended() -> None:
    examples = [
        Example(
            e.generation,
            (
                *e.feedback,
                make_feedback(f"c/{e.generation.id}", e.generation.id, signal="comment",
                              text="wrong file", episode="e"),
            ),
        )
        for e in episode("e", 3, -1.0)
    ]  # fmt: skip
    rows = build(examples).rows
    assert [row.generation for row in rows if row.role == "hindsight"] == ["e-2"]


def test_conduct_counts_broken_calls_loops_and_refusals() -> None:
    call = '<tool_call>{"name": "look_up", "arguments": {}}</tool_call>'
    good = episode("a", 3, 1.0, output=call)
    bad = episode("b", 1, -1.0, output="<tool_call>{oops</tool_call>")
    refused = episode("c", 1, -1.0, output="I'm sorry, I cannot do that.")
    untold = episode("d", 4, output=call)
    conduct = measure_conduct(find_episodes([*good, *bad, *refused, *untold]), MAP)
    assert conduct is not None
    assert (conduct.episodes, conduct.steps) == (3, 5)
    assert conduct.outcome == pytest.approx(-1 / 3)
    assert conduct.invalid_calls == pytest.approx(1 / 4)
    assert (conduct.loops, conduct.refusals) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert measure_conduct(find_episodes(untold), MAP) is None
