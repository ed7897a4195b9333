from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from tests.learn.test_update import row

from liveweights.learn.job import Step
from liveweights.learn.policy import Policy
from liveweights.learn.resume import Resume
from liveweights.learn.settings import LearnSettings
from liveweights.learn.update import update

SETTINGS = LearnSettings(learning_rate=2e-3, epochs=3, nodes=8, step_rows=2)
ROWS = [row("correction", [1, 2, n], [n, n + 1], 0.5, []) for n in range(3, 13)]


class Killed(Exception):
    """As far as the update is concerned."""


def run(tiny: Path, file: Path | None, *, die_after: int = 0, seed: int = 0) -> tuple[Policy, int]:
    """The policy after the update, and the steps that an earlier start had made."""
    settings = msgspec.structs.replace(SETTINGS, seed=seed)
    policy = Policy(tiny, None, settings)

    def tell(step: Step) -> None:
        if step.steps == die_after:
            raise Killed

    report = update(policy, ROWS, settings, tell, Resume(file) if file else None)
    assert report.steps == 9
    assert report.grad_norm > 0
    return policy, report.resumed


def test_a_killed_update_goes_on_from_its_last_step(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liveweights.learn.resume.PART", 0)  # every step is kept
    file = tmp_path / "cycle" / "resume.pt"
    for die_after in (4, 7):
        with pytest.raises(Killed):
            run(tiny, file, die_after=die_after)
    resumed, steps = run(tiny, file)
    assert steps == 6  # what was told after the seventh step was its last word
    whole, none = run(tiny, None)
    assert none == 0
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_was_kept_of_another_update_is_left(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liveweights.learn.resume.PART", 0)
    file = tmp_path / "resume.pt"
    with pytest.raises(Killed):
        run(tiny, file, die_after=5)
    _, steps = run(tiny, file, seed=1)
    assert steps == 0


def test_keeping_takes_a_small_part_of_the_time(tmp_path: Path) -> None:
    resume = Resume(tmp_path / "resume.pt")
    for count in range(5):
        resume.keep("f", [torch.zeros(10)], {}, {"count": count})
    kept = resume.load("f")
    assert kept is not None
    assert kept.numbers["count"] == 0
    assert resume.load("g") is None
    assert Resume(tmp_path / "resume.pt", "from other weights").load("f") is None
    assert Resume(tmp_path / "none.pt").load("f") is None
