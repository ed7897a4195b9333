from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_generation

from liveweights.cycle import updating
from liveweights.cycle.updating import LEARNER_STARTS, LearnerFailed, run_learner
from liveweights.learn.job import RESULT, spread
from liveweights.record.example import Example

KILLED = -9


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *codes: int, done: bool = False) -> int:
    """How often an update is started whose starts end with ``codes``, if ``done`` with a result."""
    starts = 0

    async def start(where: Path) -> tuple[int, str]:
        nonlocal starts
        starts += 1
        if done:
            (where / RESULT).write_text("{}")
        return codes[starts - 1], "line\nlast line"

    monkeypatch.setattr(updating, "start_learner", start)
    asyncio.run(run_learner(folder))
    return starts


def test_a_killed_update_is_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, KILLED, KILLED, 0) == 3
    with pytest.raises(LearnerFailed, match=f"at start {LEARNER_STARTS}"):
        run(monkeypatch, tmp_path, *[KILLED] * LEARNER_STARTS)


def test_one_that_failed_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(LearnerFailed, match=r"code 1:\nline\nlast line"):
        run(monkeypatch, tmp_path, 1, 0)


def test_one_that_was_killed_after_its_result_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, tmp_path, KILLED, 0, done=True) == 1


@given(st.integers(0, 300), st.integers(1, 100))
def test_rows_to_score_are_spread_over_all(count: int, most: int) -> None:
    examples = [Example(make_generation(f"g{n}"), ()) for n in range(count)]
    chosen = spread(examples, most)
    assert len(chosen) == min(count, most)
    places = [int(example.generation.id[1:]) for example in chosen]
    assert places[:1] == [0][:count]
    apart = {later - place for place, later in pairwise([*places, count])}
    assert not apart or max(apart) - min(apart) <= 1
