"""What a job makes of answers that are known as text only."""

from __future__ import annotations

import json
from pathlib import Path

from tests.learn.families import make_family
from tests.record.rows import make_feedback, make_generation

from liveweights.learn.job import Job
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example


def imported(number: int, signal: str) -> Example:
    """As old logs are recorded: no token ids, no log-probabilities."""
    generation = make_generation(
        f"g{number}",
        user=f"u{number}",
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
