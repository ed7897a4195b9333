"""A home is one service's, and whoever comes second is told whose."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from liveweights.holder import LOCK, Held, Holder, hold_home, is_held, read_id


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with hold_home(home) as first:
        assert first.pid == os.getpid()
        with pytest.raises(Held) as refused, hold_home(home):
            pass
        said = str(refused.value)
        assert f"{home} is in use by process {os.getpid()} on {socket.gethostname()}" in said
        assert first.since in said
        assert "say another folder" in said
    with hold_home(home) as again:
        assert again.home == first.home  # the home's own id stays


def test_one_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from liveweights.holder import hold_home\n"
        "with hold_home(Path(sys.argv[1])): print('held', flush=True); time.sleep(100)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(Held, match=f"process {child.pid} on"), hold_home(tmp_path):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    left = Holder.decode((tmp_path / LOCK).read_bytes())
    assert left is not None
    assert left.is_dead()
    with hold_home(tmp_path):
        pass


def test_whether_it_is_held_can_be_asked(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold_home(tmp_path):
        assert is_held(tmp_path)
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_who_only_asks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCK).touch()
    with (tmp_path / LOCK).open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda _: asking.close())
        with hold_home(tmp_path):
            assert is_held(tmp_path)


def test_a_file_that_is_not_ours_names_nobody(tmp_path: Path) -> None:
    with hold_home(tmp_path):
        (tmp_path / LOCK).write_text("?")
        with pytest.raises(Held, match="in use by another process"), hold_home(tmp_path):
            pass


def test_of_other_hosts_nothing_is_known() -> None:
    there = Holder(pid=1, host="elsewhere", since="now", home="x")
    assert not there.is_dead()
    assert not Holder.me("x").is_dead()
    assert Holder.decode(there.encode()) == there
    assert Holder.decode(json.dumps({"pid": "one"})) is None
    assert Holder.decode("worker-7") is None


def test_a_home_has_one_id(tmp_path: Path) -> None:
    assert read_id(tmp_path) == read_id(tmp_path)
    assert len(read_id(tmp_path)) == 32
    assert {file.name for file in tmp_path.iterdir()} == {"id"}
