"""Where a demo may run: what it would delete is a demo's, and nobody is at work there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.folders import make_folder
from tests.processes import is_alive
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.holder import Held, hold_home
from liveweights.replay.folder import MARKER, NotForDemo, hold_folder, pid_file
from liveweights.store.embedded import EmbeddedPostgres


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


@pytest.mark.fault
def test_a_server_that_a_killed_demo_left_is_ended_first() -> None:
    folder = make_folder()
    script = (
        "import sys, time; from pathlib import Path\n"
        "from liveweights.store.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    try:
        with hold_folder(folder) as home:
            pass
        with subprocess.Popen(
            [sys.executable, "-c", script, str(home / "postgres")], stdout=subprocess.PIPE
        ) as demo:
            assert demo.stdout is not None
            server = int(demo.stdout.readline())
            with pytest.raises(NotForDemo, match="in use by another process"), hold_folder(folder):
                pass
            assert is_alive(server)
            demo.kill()
        with hold_folder(folder):
            assert not is_alive(server)
            assert not (home / "postgres").exists()
    finally:
        EmbeddedPostgres(folder / "home" / "postgres").destroy()
        shutil.rmtree(folder)


def test_a_database_that_lies_elsewhere_goes_with_the_home(tmp_path: Path) -> None:
    """Root's does, below a folder that is closed to others."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    with hold_folder(tmp_path / "demo") as home:
        (home / "postgres").mkdir()
        (home / "postgres" / "location").write_text(f"{elsewhere}\n")
    with hold_folder(tmp_path / "demo"):
        assert not elsewhere.exists()


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
