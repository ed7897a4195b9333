"""What a job makes of answers that are known as text only."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from tests.learn.families import make_family
from tests.record.rows import make_feedback, make_generation

from liveweights.cycle.lessons import as_lesson
from liveweights.learn.job import WEIGHTS, Job
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.replay.goals import most_divergence


def imported(number: int, signal: str, user: str | None = None) -> Example:
    """As old logs are recorded: no token ids, no log-probabilities."""
    generation = make_generation(
        f"g{number}",
        user=user or f"u{number}",
        session=f"s{number}",
        prompt_ids=[],
        output_ids=[],
        logprobs=[],
        raw_logprobs=[],
        prompt=json.dumps({"prompt": "import os, sys\n"}),
        output="return a",
    )
    said = [make_feedback(f"f{number}", generation.id, signal=signal)]
    if signal == "rejected":
        said.append(make_feedback(f"c{number}", generation.id, signal="correction", text="pass"))
    return Example(generation, tuple(said))


def test_text_is_learnt_by_kto_and_compared_but_not_reweighted(tmp_path: Path) -> None:
    rows = [imported(number, "accepted" if number % 2 else "rejected") for number in range(12)]
    job = Job(
        base=str(make_family("llama", tmp_path / "llama")),
        parent=None,
        incumbent="m@000000000000",
        train=rows[:8],
        held_back=rows[8:],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(rank=4, learning_rate=5e-3, nodes=128, threads=1),
    )
    result = learn(job, tmp_path / "cycle")
    assert result.report.rows == 12  # eight answers, and what was written in place of four
    assert result.report.taught == 12
    assert result.report.mismatch is None  # nothing was recorded that could differ
    assert len(result.held_back) == 4
    for row in result.held_back:
        assert row.behaviour == []
        assert len(row.candidate_answer) == len(row.incumbent_answer) > 0
        assert row.candidate_answer != row.incumbent_answer


def test_a_correction_beyond_the_context_ends_no_cycle(tmp_path: Path) -> None:
    """Of learnt positions, here 256, a pass needs one for each token."""
    rows = [imported(number, "accepted") for number in range(8)]
    long = [
        Example(
            rows[place].generation,
            (make_feedback(f"c{place}", f"g{place}", signal="correction", text="7" * 300),),
        )
        for place in (0, 6)
    ]
    job = Job(
        base=str(make_family("gpt2", tmp_path / "gpt2")),
        parent=None,
        incumbent="m@000000000000",
        train=[long[0], *rows[1:6]],
        held_back=[long[1], rows[7]],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(rank=4, nodes=128, threads=1, probes=2),
    )
    result = learn(job, tmp_path / "cycle")
    assert result.report.masks == {"too_long": 1}
    assert result.report.taught == 6
    assert [row.candidate_truth is None for row in result.held_back] == [True, False]


def test_lessons_alone_are_held_to_the_target_too(tmp_path: Path) -> None:
    """A teacher's answers are not the model's own, and nothing else was reacted to."""
    lessons = [as_lesson(imported(number, "accepted"), "small") for number in range(16)]
    job = Job(
        base=str(make_family("llama", tmp_path / "llama")),
        parent=None,
        incumbent="m@000000000000",
        train=lessons,
        held_back=[],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(rank=4, nodes=128, threads=1, probes=2, learning_rate=0.05),
    )
    report = learn(job, tmp_path / "cycle").report
    assert report.roles == {"correction": 16}
    assert report.divergence is not None
    assert report.divergence <= most_divergence(job.settings)
    assert report.watched == 16


def test_votes_are_left_out_of_all_that_was_held_back_also_where_a_part_is_scored(
    tmp_path: Path,
) -> None:
    def votes(user: str, first: int, usual: str, other: str) -> list[Example]:
        return [imported(first + n, usual if n % 4 else other, user) for n in range(20)]

    honest = [
        example
        for place, user in enumerate("abcdefghij")
        for example in votes(user, 100 * (place + 1), "rejected", "accepted")
    ]
    troll = votes("troll", 2000, "accepted", "rejected")
    job = Job(
        base=str(make_family("llama", tmp_path / "llama")),
        parent=None,
        incumbent="m@000000000000",
        train=honest[:4],
        held_back=[*troll, *honest[4:]],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(rank=4, nodes=128, threads=1, max_scored=5, probes=2),
    )
    result = learn(job, tmp_path / "cycle")
    out = {example.generation.id for example in troll}
    assert set(result.left_out) == out
    assert len(result.held_back) == 5
    assert out.isdisjoint(row.generation for row in result.held_back)


def test_it_says_which_settings_are_for_a_new_adapter(tmp_path: Path) -> None:
    settings = LearnSettings(rank=4, nodes=128, threads=1, probes=2)
    job = Job(
        base=str(make_family("llama", tmp_path / "llama")),
        parent=None,
        incumbent="m@000000000000",
        train=[imported(number, "accepted" if number % 2 else "rejected") for number in range(4)],
        held_back=[],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=settings,
    )
    assert learn(job, tmp_path / "first").report.notes == []
    changed = msgspec.structs.replace(settings, rank=8)
    goes_on = msgspec.structs.replace(
        job, parent=str(tmp_path / "first" / WEIGHTS), settings=changed
    )
    (note,) = learn(goes_on, tmp_path / "second").report.notes
    assert "learn.rank (8) is for a new one" in note
