"""The demo, ended at whatever moment: nothing of it stays, and the next one starts."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.model,
    pytest.mark.fault,
    pytest.mark.alone,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are read there"),
]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A shell lets what it runs in the background ignore SIGINT, which is inherited.
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from liveweights.cli import main; main()"
)


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A demo that has said its first words: before, there is nothing that could stay."""
    said = folder.parent / "output"
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "demo", "--plain", "--folder", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=said.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    while not said.read_bytes() and process.poll() is None:
        time.sleep(0.05)
    return process


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder, and processes that work in it."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((entry / "cwd").readlink())
        except OSError:  # gone, or not ours to look at
            continue
        if str(folder) in command or place.startswith(str(folder)):
            found.append(f"{entry.name} {command}")
    return found


def interrupt(folder: Path, seconds: float, number: signal.Signals) -> None:
    process = start(folder)
    time.sleep(seconds)
    ended = process.poll()
    assert ended is None, f"it ended by itself with {ended} within {seconds:.1f} s"
    process.send_signal(number)
    assert process.wait(120) == 130
    assert processes_of(folder) == []
    assert list(folder.rglob("*.partial*")) == []
    assert not (folder / "service.pid").exists()
    assert [path for path in folder.rglob("*") if path.is_socket()] == []


@pytest.mark.parametrize(("seconds", "number"), [(0.0, signal.SIGTERM), (15.0, signal.SIGINT)])
def test_nothing_of_an_interrupted_demo_stays(
    tmp_path: Path, seconds: float, number: signal.Signals
) -> None:
    interrupt(tmp_path / "demo", seconds, number)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_random_moments_on_one_folder(tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(20):
        interrupt(tmp_path / "demo", draw.uniform(0.0, 120.0), draw.choice(SIGNALS))
