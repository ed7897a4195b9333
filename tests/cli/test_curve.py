"""The curve of what is shown against what is accepted, as people read it."""

from __future__ import annotations

import msgspec
import pytest
from tests.gate.test_calibration import run, world

from liveweights.cli.curve import HEIGHT, WIDTH, plot, show_calibration

LINE = [(0.0, 0.0), (0.5, 0.2), (1.0, 0.2)]
LOWER = [(0.0, 0.0), (1.0, 0.1)]


def test_both_curves_and_both_points_are_where_they_belong() -> None:
    lines = plot(LOWER, LINE, (1.0, 0.1), (0.5, 0.2))
    assert len(lines) == HEIGHT + 3
    cells = [line[8:].ljust(WIDTH + 1) for line in lines[: HEIGHT + 1]]
    assert lines[0].startswith(" 0.200 |")
    assert cells[0][WIDTH // 2] == "C"
    assert cells[0][WIDTH] == "c"
    assert cells[HEIGHT // 2][WIDTH] == "I"
    assert cells[HEIGHT][0] == "="


def test_equal_curves_are_one() -> None:
    text = "".join(line[8:] for line in plot(LINE, LINE, None, None)[: HEIGHT + 1])
    assert set(text) == {" ", "="}


def test_a_calibration_is_shown_with_its_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(world(300))
    show_calibration(msgspec.to_builtins(found))
    told = capsys.readouterr().out
    assert "300, 300 of them judged" in told
    assert found.held_by in told
    assert "C" in told
    assert "100% shown" in told


def test_where_an_engine_says_nothing_there_is_no_curve(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = msgspec.structs.replace(run(world(40)), candidate_curve=[], kept=None)
    show_calibration(msgspec.to_builtins(found))
    assert "shown" not in capsys.readouterr().out
