"""What keeps a server ends with its terminal, and the server does, unless it was told otherwise."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.folders import make_folder
from tests.processes import list_children
from tests.serve.gateway.stub import Stub, serve_stub

from liveweights import machine
from liveweights.store.embedded import EmbeddedPostgres

pytestmark = pytest.mark.fault

ON_ITS_TERMINAL = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, getattr(signal, sys.argv.pop(1)))
from liveweights.cli import main
main()
"""


class Terminal:
    """A command on a terminal of its own, until that is closed."""

    def __init__(self, *words: str, hangup: str = "SIG_DFL") -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_ITS_TERMINAL, hangup, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def read_until(self, words: str) -> None:
        said = b""
        while words.encode() not in said:
            try:
                said += os.read(self._ours, 4096)
            except OSError:  # it has ended
                raise AssertionError(said.decode()) from None

    def close(self) -> None:
        os.close(self._ours)


@pytest.fixture
def home() -> Iterator[Path]:
    path = make_folder()
    yield path / "home"
    for pid in list_children(str(path / "home")):
        os.kill(pid, signal.SIGKILL)
    for server in path.glob("home/**/postgres"):
        EmbeddedPostgres(server).destroy()
    shutil.rmtree(path, ignore_errors=True)


def servers_of(folder: Path) -> list[int]:
    return machine.processes_in(folder / "postgres" / "server" / "data")


@pytest.mark.parametrize("hangup", ["SIG_DFL", "SIG_IGN"])
def test_a_service_ends_with_its_terminal_in_order(home: Path, hangup: str) -> None:
    def look(upstream: str) -> None:
        where = ["--home", str(home), "--port", "0", "--upstream", upstream]
        terminal = Terminal("up", *where, hangup=hangup)
        terminal.read_until("answering at")
        assert servers_of(home)
        terminal.close()
        if hangup == "SIG_IGN":  # as by nohup
            with pytest.raises(subprocess.TimeoutExpired):
                terminal.process.wait(5)
            assert servers_of(home)
            terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(90) == 0
        assert not servers_of(home)

    async def scenario() -> None:
        async with serve_stub(Stub()) as upstream:
            await asyncio.to_thread(look, upstream)

    asyncio.run(scenario())


def test_the_server_of_the_databases_ends_with_its_terminal(home: Path) -> None:
    terminal = Terminal("db", "serve", "--home", str(home))
    terminal.read_until("serves databases on port")
    assert servers_of(home / "databases")
    terminal.close()
    assert terminal.process.wait(90) == 0
    assert not servers_of(home / "databases")


def test_a_signal_of_each_kind_is_heard() -> None:
    """Also where the loop does nothing else."""
    script = (
        "import asyncio\nfrom liveweights.stop_signals import on_stop\n"
        "async def run():\n"
        "    told = asyncio.Event()\n"
        "    on_stop(told.set)\n"
        "    print('ready', flush=True)\n"
        "    await told.wait()\n"
        "asyncio.run(run())"
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            assert process.wait(30) == 0
