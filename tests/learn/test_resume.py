from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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


def make_state(folder: Path) -> bytes:
    file = folder / "state.pt"
    Resume(file).keep("f", [torch.zeros(10)], {"state": {}, "param_groups": []}, {"count": 1})
    return file.read_bytes()


@given(data=st.data())
def test_a_state_that_cannot_be_read_begins_anew(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut, or with a part of it overwritten, as after a power failure."""
    folder = tmp_path_factory.mktemp("states")
    state = bytearray(make_state(folder))
    start = data.draw(st.integers(0, len(state) - 1))
    if data.draw(st.booleans()):
        del state[start:]
    else:
        junk = data.draw(st.binary(min_size=1, max_size=60))
        state[start : start + len(junk)] = junk
    file = folder / "resume.pt"
    file.write_bytes(state)
    kept = Resume(file).load("f")
    assert kept is None or kept.numbers.keys()


def test_a_state_that_is_none_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "resume.pt"
    for content in (b"", b"PK", make_state(tmp_path)[:-40]):
        file.write_bytes(content)
        assert Resume(file).load("f") is None
        assert "cannot be read; it begins anew" in caplog.text
        caplog.clear()
    torch.save({"fingerprint": ["", "f"]}, file)
    assert Resume(file).load("f") is None


LIMITED = """
import logging, pathlib, resource, signal, sys, torch
from liveweights.learn.resume import Resume
logging.basicConfig(stream=sys.stdout)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
resume = Resume(pathlib.Path(sys.argv[1]))
for count in range(2):
    resume.keep("f", [torch.zeros(100_000)], {}, {"count": count})
"""


def test_without_room_an_update_goes_on_and_nothing_is_left(tmp_path: Path) -> None:
    """In a process of its own, which may write no large file."""
    file = tmp_path / "cycle" / "resume.pt"
    done = subprocess.run([sys.executable, "-c", LIMITED, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is not kept from here on") == 1
    assert list(file.parent.iterdir()) == []
