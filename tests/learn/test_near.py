"""Whatever the step size, an update ends within its bound on rows that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from tests.learn.families import make_family
from tests.record.rows import make_feedback, make_generation

from liveweights.cycle.updating import read_result
from liveweights.learn.job import Job, Result
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.learn.trust import is_near
from liveweights.record.example import Example


def example(number: int) -> Example:
    ids = [5 + number % 7, 9, 11 + number % 5]
    generation = make_generation(
        f"g{number}",
        user=f"u{number}",
        session=f"s{number}",
        prompt_ids=[3, 4 + number % 3],
        output_ids=ids,
        logprobs=[-4.0] * 3,
        raw_logprobs=[-4.0] * 3,
        output="text",
        temperature=1.0,
    )
    signal = "accepted" if number % 3 else "rejected"
    return Example(generation, (make_feedback(f"f{number}", generation.id, signal=signal),))


def update(
    folder: Path, held_back: int, stored: torch.dtype = torch.float32, **settings: Any
) -> Result:
    rows = [example(number) for number in range(60)]
    job = Job(
        base=str(make_family("llama", folder / "llama", stored)),
        parent=None,
        incumbent="m@000000000000",
        train=rows[held_back:],
        held_back=rows[:held_back],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(
            rank=4, nodes=64, step_rows=8, threads=1, ratio_band=1e6, epochs=3, **settings
        ),
    )
    return learn(job, folder / "cycle")


STORED = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("updater", ["lora", "full"])
def test_steps_that_are_much_too_large_end_within_the_bound(
    tmp_path: Path, updater: Literal["lora", "full"], stored: torch.dtype
) -> None:
    report = update(
        tmp_path, 20, stored, updater=updater, learning_rate=0.2, full_learning_rate=0.05
    ).report
    assert report.watched == 20
    assert report.divergence is not None
    assert is_near(report.divergence, 0.1)
    assert 0 < report.scale < 1
    assert report.rate < 1


@pytest.mark.parametrize("stored", STORED)
def test_a_small_step_that_is_shortened_is_not_lost(tmp_path: Path, stored: torch.dtype) -> None:
    """A step of few units in the last place of what is stored is shortened as well as a long one:
    most of what is allowed is made use of, and it is what is saved."""
    small = {"updater": "full", "full_learning_rate": 3e-4, "dtype": "float32"}
    whole = update(tmp_path, 20, stored, kl_target=1.0, **small).report.divergence
    assert whole is not None
    for part in (0.8, 0.6, 0.4):
        report = update(tmp_path, 20, stored, kl_target=part * whole, **small).report
        assert report.divergence is not None
        assert is_near(report.divergence, part * whole)
        assert report.divergence > 0.6 * part * whole
        assert 0.3 < report.scale < 1


def test_a_step_within_the_bound_is_kept_whole(tmp_path: Path) -> None:
    report = update(tmp_path, 20, learning_rate=1e-4).report
    assert report.scale == 1.0
    assert report.divergence is not None
    assert 0 < report.divergence <= 0.1


def test_without_held_back_rows_those_that_teach_are_watched(tmp_path: Path) -> None:
    result = update(tmp_path, 0, learning_rate=0.2)
    assert result.held_back == []
    assert result.report.watched == 60
    assert result.report.divergence is not None
    assert is_near(result.report.divergence, 0.1)


@pytest.mark.parametrize("updater", ["lora", "full"])
def test_weights_that_are_no_numbers_end_as_the_incumbent(
    tmp_path: Path, updater: Literal["lora", "full"]
) -> None:
    result = update(tmp_path, 20, updater=updater, learning_rate=1e30, full_learning_rate=1e30)
    assert result.report.skipped > 0
    assert (result.report.scale, result.report.divergence) == (0.0, 0.0)
    assert result.broken == ""
    for row in result.held_back:
        assert row.candidate_answer == row.incumbent_answer
    # The worker reads what the learner's process wrote.
    assert read_result(tmp_path / "cycle") == result
