"""What is found by a process of its own is what would be found here, and it ends when it is to."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.hub_server import Hub, Repository, running
from tests.learn.families import make_family
from tests.processes import is_alive

from liveweights.app.start import passes
from liveweights.weights.finding import _Failure, find_apart
from liveweights.weights.models import BrokenModel, ModelAway, ModelNotFound, find

COMMIT = "a" * 40
COMMAND = [sys.executable, "-c", "from liveweights.cli import main; main()"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """One repository, whose weights never end."""
    files = {
        file.name: file.read_bytes() for file in make_family("qwen3", tmp_path / "m").iterdir()
    }
    with running() as hub:
        hub.repositories["org/tiny"] = Repository({COMMIT: files}, COMMIT)
        hub.endless.add(f"/org/tiny/resolve/{COMMIT}/model.safetensors")
        yield hub


def test_it_finds_what_is_found_here(tmp_path: Path) -> None:
    folder = str(make_family("qwen3", tmp_path / "tiny"))
    assert asyncio.run(find_apart(folder, tmp_path / "cache")) == find(folder, tmp_path / "other")


@pytest.mark.parametrize("what", ["nowhere", "broken"])
def test_it_refuses_what_is_refused_here(what: str, tmp_path: Path) -> None:
    folder = make_family("qwen3", tmp_path / "broken")
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelNotFound) as here:
        find(str(tmp_path / what), tmp_path / "cache")
    with pytest.raises(ModelNotFound) as apart:
        asyncio.run(find_apart(str(tmp_path / what), tmp_path / "cache"))
    assert (type(apart.value), str(apart.value)) == (type(here.value), str(here.value))
    assert type(here.value) is (BrokenModel if what == "broken" else ModelNotFound)


def test_a_failure_of_the_system_is_the_same_one() -> None:
    """``app.start.passes`` goes by its number."""
    full = OSError(errno.ENOSPC, "no space", "/cache/file")
    made = pickle.loads(pickle.dumps(_Failure.of(full))).error()
    assert isinstance(made, OSError)
    assert (made.errno, made.filename, str(made)) == (errno.ENOSPC, "/cache/file", str(full))


def test_a_process_that_was_killed_is_said(hub: Hub, tmp_path: Path) -> None:
    async def scenario() -> None:
        others = set(psutil.Process().children())  # the session's database server
        finding = asyncio.create_task(find_apart("hf://org/tiny", tmp_path / "cache"))
        while not (started := set(psutil.Process().children()) - others):
            await asyncio.sleep(0.02)
        for child in started:
            child.kill()
        with pytest.raises(ModelAway, match=r"made it ready ended with SIGKILL") as refused:
            await finding
        assert passes(refused.value)  # its unit starts it again

    asyncio.run(scenario())


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_is_ended_while_it_downloads(
    number: signal.Signals, hub: Hub, tmp_path: Path
) -> None:
    settings = tmp_path / "liveweights.toml"
    settings.write_text(f'cache = "{tmp_path / "cache"}"\nengine = {{ kind = "torch" }}\n')
    up = [*COMMAND, "up", "--model", "hf://org/tiny", "--port", "0"]
    with subprocess.Popen(
        [*up, "--home", str(tmp_path / "home"), "--config", str(settings)],
        env=hub.environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not hub.endless & set(hub.asked):
            assert process.poll() is None
            time.sleep(0.1)
        started = [child.pid for child in psutil.Process(process.pid).children()]
        assert started
        os.killpg(process.pid, number)  # as a terminal does
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 0
    assert "Traceback" not in said
    assert not any(map(is_alive, started))
    assert not (tmp_path / "home" / "postgres").exists()
