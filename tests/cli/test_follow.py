from __future__ import annotations

from typing import Any

import pytest

from liveweights.cli.follow import describe, follow_cycle, say_seconds


def status(
    state: str | None, worker: str | None = "process 7 on here", **progress: Any
) -> dict[str, Any]:
    told = {"stage": "updating", "rows_per_second": 2.0, "seconds_left": 95.0, "steps": 3} | {
        "loss": 0.5, "kl": 0.01, "part": 0.4
    }  # fmt: skip
    cycle = {"id": 7, "state": state, "progress": told | progress if progress else None}
    ended = {"id": 7, "standing": "rejected", "reason": "FAIL: drift"}
    open_ = cycle if state else None
    return {"alias": "code", "worker": worker, "cycle": open_, "cycles": [ended]}


def test_what_is_piped_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    told = iter(
        [
            status("claiming"),
            status("learning", stage="scoring", done=0, total=40, rows_per_second=None,
                   seconds_left=None, steps=0),
            status("learning", done=120, total=400),
            status("learning", done=130, total=400),
            status("gating", stage="asking", done=3, total=0, steps=0),
            status(None),
        ]
    )  # fmt: skip
    follow_cycle(lambda: next(told), poll=0.0)
    lines = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "cycle 7 claiming",
        "cycle 7 learning: held-back rows before the update, 0 of 40",
        "cycle 7 learning: gradient steps, 120 of 400, 2 a second, loss 0.500, divergence 0.010,"
        " about 95 s left of this step",
        "cycle 7 gating: drafts of both checkpoints, 3 of ?, 2 a second, about 95 s left of this"
        " step",
        "7 ended: rejected: FAIL: drift",
    ]


def test_a_speed_is_told_as_soon_as_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"rows_per_second": None, "seconds_left": None}
    told = iter(
        [
            status("learning", stage="measuring", done=0, total=9, steps=0, **unknown),
            status("learning", stage="measuring", done=1, total=9, steps=0),
            status(None),
        ]
    )
    follow_cycle(lambda: next(told), poll=0.0)
    lines = capsys.readouterr().out.splitlines()
    assert "0 of 9" in lines[0]
    assert "1 of 9, 2 a second" in lines[1]


def test_what_no_worker_takes_on_is_not_followed_for_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert follow_cycle(lambda: status("claiming", worker=None), poll=0.0, patience=0.05) is False
    said = capsys.readouterr()
    assert "cycle 7 claiming" in said.out
    assert "no worker runs for 'code'" in said.err
    assert "`liveweights up` starts one" in said.err


def test_a_worker_that_comes_back_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    away = status("learning", worker=None)
    told = iter([away, away, status("learning"), away, status(None)])
    assert follow_cycle(lambda: next(told), poll=0.0, patience=600.0) is True
    assert "ended: rejected" in capsys.readouterr().out


def test_without_a_cycle_there_is_nothing_to_follow(capsys: pytest.CaptureFixture[str]) -> None:
    follow_cycle(lambda: status(None))
    assert capsys.readouterr().out == ""


def test_a_state_without_progress_is_told_alone() -> None:
    assert describe({"id": 3, "state": "warming", "progress": None}) == "cycle 3 warming"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (150, "2.5 min"), (7199, "120.0 min"), (9000, "2.5 h")],
)
def test_seconds_are_said_in_a_fitting_unit(seconds: float, words: str) -> None:
    assert say_seconds(seconds) == words
