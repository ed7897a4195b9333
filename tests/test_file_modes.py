from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liveweights.file_modes import close_files, make_home, write_durably


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_files_are_for_their_owner(tmp_path: Path) -> None:
    close_files()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    assert mode(tmp_path / "folder") == 0o700
    assert mode(tmp_path / "folder" / "file") == 0o600


@pytest.mark.usefixtures("umask")
def test_a_home_is_closed_and_its_parents_too_where_they_are_new(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_home(tmp_path / "runs" / "home")
    closed = 0o711 if os.geteuid() == 0 else 0o700
    assert mode(tmp_path / "runs") == mode(tmp_path / "runs" / "home") == closed
    assert mode(tmp_path) == 0o755


@pytest.mark.usefixtures("umask")
def test_what_is_there_stays_as_open_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o750)
    make_home(tmp_path / "home")
    assert mode(tmp_path / "home") == 0o750


@pytest.mark.parametrize(
    "start",
    [
        "import liveweights.cli as c; c.app = lambda: print(os.umask(0)); c.main()",
        "import liveweights.app.processes as a;"
        " a.Place.decode = lambda line: print(os.umask(0)) or exit();"
        " a.main(['api', str(os.open(os.devnull, os.O_WRONLY))])",
    ],
)
def test_every_process_begins_so(start: str) -> None:
    code = f"import os, sys; os.umask(0o022); {start}"
    done = subprocess.run(
        [sys.executable, "-c", code], input="{}\n", capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(0o077), done.stderr


def test_a_name_is_given_to_what_is_on_disk_and_is_on_disk_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, done = tmp_path / "note", list[str]()
    sync = os.fsync

    def note(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        name = file.read_text() if file.exists() else "nothing"
        size = "folder" if is_folder else str(os.fstat(descriptor).st_size)
        done.append(f"{size} while it says {name}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_durably(file, b"first")
    assert done == ["5 while it says nothing", "folder while it says first"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    write_durably(file, b"second")
    assert done[2:] == ["6 while it says first", "folder while it says second"]
    assert list(tmp_path.iterdir()) == [file]
