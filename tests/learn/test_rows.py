from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import torch

from liveweights.learn.baseline import Baseline
from liveweights.learn.losses.kto import kto_loss
from liveweights.learn.rewards import RewardMap
from liveweights.learn.rows import Row, Rows, build_rows
from liveweights.learn.settings import LearnSettings, PolicyLoss
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

NOW = datetime.now(UTC)


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


def rows_of(
    *examples: Example, settings: LearnSettings | None = None, context: float = math.inf
) -> Rows:
    def encode(text: str) -> list[int]:
        return [ord(c) for c in text]

    return build_rows(
        examples,
        Baseline.empty(),
        RewardMap(),
        settings or LearnSettings(),
        encode=encode,
        context=context,
    )


def test_a_rejected_completion_teaches_what_was_written_too() -> None:
    built = rows_of(example("bad", ("rejected", None), ("correction", "ok\n")))
    by_role = {row.role: row for row in built.rows}
    assert set(by_role) == {"policy", "correction"}
    # How the line's end is tokenised depends on the next line, which nobody knows.
    assert by_role["correction"].answer_ids == [ord(c) for c in " ok"]


def correction_of(output_ids: list[int], thought: int) -> list[Row]:
    """Rows of a correction of an answer whose first ``thought`` tokens were thought."""
    given = example(
        "bad",
        ("rejected", None),
        ("correction", "ok"),
        output_ids=output_ids,
        logprobs=[-0.1] * len(output_ids),
        raw_logprobs=[-0.1] * len(output_ids),
        usage={"reasoning_tokens": thought},
        healed="",
    )
    return [row for row in rows_of(given).rows if row.role == "correction"]


def test_a_correction_is_learnt_in_the_answers_place_not_in_the_thought() -> None:
    thought, blank, answer = [70, 71, 72], [10, 10], [98, 99]
    (row,) = correction_of([*thought, *blank, *answer], 3)
    assert row.prompt_ids == [1, 2, *thought, *blank]
    assert row.answer_ids == [ord("o"), ord("k")]
    (row,) = correction_of([*thought, *answer], 3)
    assert row.prompt_ids == [1, 2, *thought]
    (row,) = correction_of(answer, 0)
    assert row.prompt_ids == [1, 2]


@pytest.mark.parametrize("written", ["ok", " ok"])
def test_an_answer_of_a_chat_has_one_blank_before_it(written: str) -> None:
    """Users, and other servers, cut it off or do not."""
    given = example("bad", ("rejected", None), ("correction", written), endpoint="chat")
    (row,) = (row for row in rows_of(given).rows if row.role == "correction")
    assert row.answer_ids == [ord(c) for c in " ok"]


def test_where_no_answer_was_begun_there_is_no_place_for_one() -> None:
    assert correction_of([70, 71, 72], 3) == []


def test_what_was_withheld_teaches_only_what_the_user_wrote() -> None:
    silent = example("", ("correction", "ok\n"), selection=-0.2)
    built = rows_of(silent, example("", id="h", selection=-0.2))
    assert [row.role for row in built.rows] == ["correction"]
    assert (built.counts, built.masks) == ({}, {"withheld": 1})
    assert built.baseline == Baseline.empty()


def test_an_answer_without_probabilities_is_a_preference() -> None:
    (row,) = rows_of(example("good", ("accepted", None), logprobs=[])).rows
    assert (row.role, row.behaviour, row.answer_ids) == ("preference", [], [3, 4])
    built = rows_of(example("good", ("accepted", None), logprobs=[], output_ids=[]))
    assert built.rows[0].answer_ids == [ord(c) for c in " good"]
    assert built.counts == {"accepted": 1}


def test_the_recorded_probabilities_are_those_of_the_sampling_distribution() -> None:
    (sampled,) = rows_of(example("good", ("accepted", None))).rows
    assert (sampled.behaviour, sampled.temperature) == ([-0.1, -0.2], 0.5)
    (greedy,) = rows_of(example("good", ("accepted", None), temperature=0.0)).rows
    assert (greedy.behaviour, greedy.temperature) == ([-0.3, -0.4], 1.0)


def test_the_advantage_is_from_the_segments_baseline() -> None:
    built = rows_of(example("good", ("accepted", None)), example("bad", ("rejected", None), id="h"))
    weights = [row.weight for row in built.rows if row.role == "policy"]
    assert weights == pytest.approx([1.0, -1.0])  # neither is part of its own baseline
    assert built.mean_reward == pytest.approx(0.25)


def test_what_is_longer_than_the_models_context_is_left_out_and_counted() -> None:
    long = example("bad", ("rejected", None), ("correction", "o" * 98))
    words = example("bad", ("comment", "No! " * 20), id="h")
    built = rows_of(long, words, context=100)
    assert {(row.role, row.generation) for row in built.rows} == {("policy", "g"), ("policy", "h")}
    assert built.masks == {"too_long": 2}
    fits = rows_of(long, words, context=101)
    assert "correction" in {row.role for row in fits.rows}


def test_what_nobody_reacted_to_is_counted_not_used() -> None:
    built = rows_of(example("text", ("shown", None)))
    assert (built.rows, built.counts, built.masks) == ([], {}, {"no_reward": 1})


def test_words_teach_in_hindsight_and_by_their_mood() -> None:
    built = rows_of(example("bad", ("comment", "That's wrong, use a list"), endpoint="chat"))
    by_role = {row.role: row for row in built.rows}
    assert set(by_role) == {"policy", "hindsight"}
    assert by_role["hindsight"].answer_ids == [3, 4]
    assert by_role["hindsight"].behaviour == [-0.1, -0.2]
    assert by_role["hindsight"].teacher_ids[-2:] == [1, 2]
    assert built.counts == {"dissatisfied": 1}


def test_the_incumbents_own_answers_are_fresh() -> None:
    examples = [example("a", ("accepted", None), checkpoint=c, id=c) for c in ("m@1", "m@2")]
    built = build_rows(
        examples,
        Baseline.empty(),
        RewardMap(),
        LearnSettings(),
        encode=lambda text: [ord(c) for c in text],
        incumbent="m@2",
    )
    assert {r.generation: r.fresh for r in built.rows if r.role == "policy"} == {
        "m@1": False,
        "m@2": True,
    }


def test_one_user_cannot_hold_the_cycle() -> None:
    loud = [example("a", ("accepted", None), id=f"l{n}", user="loud") for n in range(60)]
    rest = [example("b", ("rejected", None), id=f"r{n}", user=f"u{n % 20}") for n in range(20 * 8)]
    loose = LearnSettings(outlier_distance=1e6)
    built = rows_of(*loud, *rest, settings=loose)
    uncapped = rows_of(*loud, *rest, settings=msgspec.structs.replace(loose, user_share=1.0))

    def held(rows: Rows) -> float:
        of_loud = sum(abs(r.weight) for r in rows.rows if r.voter.user == "default/loud")
        return of_loud / sum(abs(r.weight) for r in rows.rows)

    assert held(uncapped) > 0.25
    assert held(built) == pytest.approx(0.1)


def test_a_long_correction_counts_for_its_tokens() -> None:
    said = [
        example(
            "a",
            ("rejected", None),
            ("correction", "o" * 4000 if user == 0 else "ok"),
            id=f"{user}.{n}",
            user=f"u{user}",
        )
        for user in range(20)
        for n in range(8)
    ]
    built = rows_of(*said, settings=LearnSettings(outlier_distance=1e6))

    def pull(rows: list[Row]) -> float:
        return sum(abs(row.weight) * len(row.answer_ids) for row in rows)

    loud = pull([row for row in built.rows if row.voter.user == "default/u0"])
    assert loud / pull(built.rows) == pytest.approx(0.1)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("loss", ["topr", "gspo"])
def test_long_texts_hold_no_more_than_short_ones(loss: PolicyLoss, known: bool) -> None:
    """What a user writes instead is as long as they like, and losses sum over its tokens."""
    given: dict[str, Any] = {} if known else {"logprobs": [], "raw_logprobs": []}
    long = [
        example(
            "a", ("rejected", None), ("correction", "x" * 400), id=f"l{n}", user="long", **given
        )
        for n in range(10)
    ]
    rest = [
        example(
            "b", ("rejected", None), ("correction", "yes"), id=f"r{n}", user=f"u{n % 20}", **given
        )
        for n in range(200)
    ]
    settings = LearnSettings(outlier_distance=1e6, loss=loss)
    assert settings.known_votes <= 10

    def pull(row: Row) -> float:
        if row.role == "policy" and loss == "gspo":
            return abs(row.weight)
        slope = settings.kto_beta / 4 if row.role == "preference" else 1.0
        return abs(row.weight) * slope * len(row.answer_ids)

    rows = rows_of(*long, *rest, settings=settings).rows
    of_long = sum(pull(row) for row in rows if row.voter.user == "default/long")
    assert of_long / sum(map(pull, rows)) == pytest.approx(settings.user_share)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("tokens", [3, 30])
def test_a_preferences_first_gradient_grows_with_its_tokens(positive: bool, tokens: int) -> None:
    settings = LearnSettings()
    logprobs_T = torch.full((tokens,), -1.0, requires_grad=True)
    kto_loss(
        logprobs_T,
        logprobs_T.detach(),
        torch.tensor([0.7 if positive else -0.7]),
        torch.zeros(tokens, dtype=torch.long),
        reference_point=torch.tensor(0.0),
        beta=settings.kto_beta,
    ).sum().backward()  # pyright: ignore[reportUnknownMemberType]
    assert logprobs_T.grad is not None
    assert float(logprobs_T.grad.abs().sum()) == pytest.approx(0.7 * settings.kto_beta / 4 * tokens)


def test_new_users_of_a_key_hold_the_share_of_one() -> None:
    """However many names they have, and before the shares of users."""
    known = [
        example("a", ("accepted", None), id=f"k{n}", user=f"u{n % 10}", key="first")
        for n in range(100)
    ]
    fresh = [
        example("b", ("rejected", None), id=f"f{n}", user=f"x{n}", key="second") for n in range(900)
    ]
    loose = LearnSettings(outlier_distance=1e6, key_share=1.0)
    for settings, most in ((loose, 0.2), (msgspec.structs.replace(loose, new_share=0.3), 0.3)):
        built = rows_of(*known, *fresh, settings=settings)
        total = sum(abs(row.weight) for row in built.rows)
        new = sum(abs(row.weight) for row in built.rows if row.voter.key == "default/second")
        assert new / total == pytest.approx(most)


def test_a_key_holds_its_share_however_many_users_it_names() -> None:
    """Of three keys, one whose users are all known and say most of what there is."""
    said = [
        example(
            "a",
            ("accepted" if n % 2 else "rejected", None),
            id=f"{key}{n}",
            user=f"{key}{n % 10}",
            key=key,
        )
        for key, count in (("loud", 900), ("one", 80), ("two", 80))
        for n in range(count)
    ]
    settings = LearnSettings(outlier_distance=1e6, user_share=1.0, new_share=1.0)
    built = rows_of(*said, settings=settings)
    total = sum(abs(row.weight) for row in built.rows)
    loud = sum(abs(row.weight) for row in built.rows if row.voter.key == "default/loud")
    assert loud / total == pytest.approx(2 / 3)  # twice an equal part


def test_held_back_votes_are_votes_and_teach_nothing() -> None:
    """New users are too few on either side for a test; with both they are not."""

    def votes(name: str, right: str, wrong: str, users: int, count: int) -> list[Example]:
        return [
            example(
                "a", (right if (n + 1) % 4 else wrong, None), id=f"{name}{u}.{n}", user=f"{name}{u}"
            )
            for u in range(users)
            for n in range(count)
        ]

    honest = votes("h", "rejected", "accepted", 10, 20)
    fresh, held = (
        votes("x", "accepted", "rejected", 12, 1),
        votes("y", "accepted", "rejected", 12, 1),
    )
    earlier = {f"default/h{u}": 8 for u in range(10)}

    def build(held_back: list[Example]) -> Rows:
        return build_rows(
            [*honest, *fresh],
            Baseline.empty(),
            RewardMap(),
            LearnSettings(),
            encode=lambda text: [ord(c) for c in text],
            earlier=earlier,
            held_back=held_back,
        )

    assert build([]).left_out == []
    built = build(held)
    assert set(built.left_out) == {e.generation.id for e in (*fresh, *held)}
    assert {row.generation for row in built.rows} == {e.generation.id for e in honest}


def test_users_who_vote_the_other_way_round_are_left_out() -> None:
    def votes(user: str, right: str, wrong: str) -> list[Example]:
        return [
            example("a", (right if n % 4 else wrong, None), id=f"{user}{n}", user=user)
            for n in range(20)
        ]

    honest = [e for u in "abcdefghij" for e in votes(u, "rejected", "accepted")]
    built = rows_of(*honest, *votes("troll", "accepted", "rejected"))
    assert list(built.outliers) == ["default/troll"]
    assert built.masks == {"outlier_user": 20}
    assert not any(row.voter.user == "default/troll" for row in built.rows)
    assert built.left_out == [f"troll{n}" for n in range(20)]
    # Nor do they move what everybody else is measured from.
    assert built.baseline.weight == rows_of(*honest).baseline.weight
