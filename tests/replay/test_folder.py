"""Where a demo may run: what it would delete is a demo's, and nobody is at work there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.holder import Held, hold_home
from liveweights.replay.folder import MARKER, NotForDemo, hold_folder, pid_file


def test_a_home_that_no_demo_made_stays_as_it_is(tmp_path: Path) -> None:
    """``demo --folder runs`` would take the home that ``up`` uses by default for its own."""
    kept = tmp_path / "home" / "postgres" / "data"
    kept.parent.mkdir(parents=True)
    kept.write_text("of users")
    result = CliRunner().invoke(app, ["demo", "--plain", "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "may be somebody's" in result.output
    assert kept.read_text() == "of users"
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_the_home_of_a_demo_before_is_emptied_and_stays_a_demos(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    for _ in range(3):
        with hold_folder(tmp_path / "demo") as home:
            assert {path.name for path in home.iterdir()} <= {MARKER, "holder.json"}
            (home / "postgres").mkdir()
            (home / "postgres" / "data").touch()
            (home / "link").symlink_to(outside)
    assert (outside / "kept").exists()


def test_an_empty_home_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with hold_folder(tmp_path) as home:
        assert (home / MARKER).exists()


def test_a_second_demo_is_refused_from_the_start(tmp_path: Path) -> None:
    with hold_folder(tmp_path) as home:
        (home / "data").touch()
        with pytest.raises(Held, match="in use by process"), hold_folder(tmp_path):
            pass
        assert (home / "data").exists()


def test_a_demos_home_on_which_a_service_runs_is_not_emptied(tmp_path: Path) -> None:
    with hold_folder(tmp_path) as home:
        (home / "data").touch()
    with (
        hold_home(home),
        pytest.raises(Held, match="in use by process"),
        hold_folder(tmp_path),
    ):
        pass
    assert (home / "data").exists()


def test_a_pid_that_is_another_users_by_now_is_no_service_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (4711, 0)
        raise PermissionError

    pid_file(tmp_path).write_text("4711")
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        with hold_folder(tmp_path):
            pass
    pid_file(tmp_path).write_text(str(os.getpid()))
    with pytest.raises(NotForDemo, match=f"kill {os.getpid()}"), hold_folder(tmp_path):
        pass
