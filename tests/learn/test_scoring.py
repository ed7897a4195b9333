"""Held-back rows under an incumbent and a candidate that somebody brought."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.record.rows import make_feedback, make_generation
from tests.sharing.tiny import make_base, write_adapter

from liveweights.cycle.updating import read_result
from liveweights.learn.drift import measure_drift
from liveweights.learn.job import RESULT, Job, Weights
from liveweights.learn.rewards import RewardMap
from liveweights.learn.scoring import score
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.sharing.source import Source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("scoring")
    return write_adapter(make_base(folder), folder / "adapter")


def make_job(source: Source, candidate: Weights) -> Job:
    examples = [
        Example(
            make_generation(f"g{n}", prompt_ids=[40, 41, n], output_ids=[7, 8, n]),
            (make_feedback(f"f{n}", f"g{n}", signal="correction", text="xyz"),),
        )
        for n in range(3)
    ]
    return Job(
        base=str(source.base.folder),
        parent=None,
        incumbent=source.base.id,
        train=[],
        held_back=examples,
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(device="cpu", dtype="float32", updater="full"),
        candidate=candidate,
    )


def test_both_are_scored_and_nothing_is_made(source: Source, tmp_path: Path) -> None:
    candidate = Weights(base=str(source.base.folder), adapter=str(source.checkpoint.folder))
    result = score(make_job(source, candidate), candidate, tmp_path)
    assert [row.generation for row in result.held_back] == ["g0", "g1", "g2"]
    assert all(row.candidate_truth != row.incumbent_truth for row in result.held_back)
    assert {one.name for one in tmp_path.iterdir()} == {RESULT, "progress.json"}
    rows = result.held_back
    drift = measure_drift(
        [row.candidate_answer for row in rows], [row.incumbent_answer for row in rows]
    )
    assert drift.divergence > 0.01
    assert result.report.divergence == pytest.approx(drift.divergence)


def test_the_same_weights_score_the_same(source: Source, tmp_path: Path) -> None:
    same = Weights(base=str(source.base.folder))
    result = score(make_job(source, same), same, tmp_path)
    assert all(row.candidate_answer == row.incumbent_answer for row in result.held_back)
    assert result.report.divergence == 0.0


def test_weights_that_are_no_numbers_are_refused_with_the_reason(
    source: Source, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(source.checkpoint.folder, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    for values in weights.values():
        values.fill_(float("nan"))
    save_file(weights, folder / "adapter_model.safetensors")
    candidate = Weights(base=str(source.base.folder), adapter=str(folder))
    result = score(make_job(source, candidate), candidate, tmp_path / "cycle")
    assert result.broken == (
        "the candidate's weights compute no finite log-probabilities on 3 of 3 held-back answers"
    )
    assert result.held_back == []
    again = read_result(tmp_path / "cycle")
    assert (again.broken, again.report.divergence) == (result.broken, None)
