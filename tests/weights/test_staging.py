from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from liveweights.weights.staging import exclusive, publish, staged, sweep, write_whole

HOUR = 3600.0
KILLED = """
import os, sys
from pathlib import Path
from liveweights.weights.staging import exclusive, staged
target = Path(sys.argv[1])
with exclusive(target), staged(target) as folder:
    (folder / "half").write_text("half")
    os._exit(9)
"""


def leave(target: Path, seconds: float) -> Path:
    """What a process that was killed has left of ``target``, so long ago."""
    before = set(target.parent.glob(".*"))
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    (left,) = set(target.parent.glob(".*")) - before
    then = time.time() - seconds
    for one in (left / "half", left):
        os.utime(one, (then, then))
    return left


def test_what_a_killed_process_left_goes_when_it_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "a.gguf"
    left, other = leave(target, 0), leave(tmp_path / "a.gguf.b", 0)
    with exclusive(target), staged(target) as folder:
        assert not left.exists()
        (folder / "made").write_text("whole")
        publish(folder / "made", target)
    assert target.read_text() == "whole"
    assert other.exists()


def test_what_was_left_long_ago_goes_and_what_is_being_made_stays(tmp_path: Path) -> None:
    old, new = leave(tmp_path / "old", 2 * HOUR), leave(tmp_path / "new", HOUR / 2)
    growing = leave(tmp_path / "growing", 2 * HOUR)
    (growing / "half").write_text("more")
    held = leave(tmp_path / "held", 2 * HOUR)
    unlocked = leave(tmp_path / "unlocked", 2 * HOUR)
    (tmp_path / "unlocked.lock").unlink()
    (tmp_path / ".other").mkdir()
    # ``exclusive`` itself would remove it.
    with FileLock(tmp_path / "held.lock"):
        assert sweep(tmp_path, HOUR) == sorted([old.name, unlocked.name])
    assert all(one.exists() for one in (new, growing, held, tmp_path / ".other"))
    assert not (tmp_path / "unlocked.lock").exists()
    assert sweep(tmp_path, HOUR) == [held.name]
    assert sweep(tmp_path / "none", HOUR) == []


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kept.json"
    for content in (b"{}", b'{"a": 1}'):
        write_whole(file, content)
        assert [path.name for path in file.parent.iterdir()] == ["kept.json"]
        assert file.read_bytes() == content


def test_what_was_there_stays_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept.json"
    write_whole(file, b"old")

    def fail(path: Path, content: bytes) -> int:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
