"""The service under replay, as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liveweights.replay.client import Client


class ServiceFailed(RuntimeError):
    """The service did not start; the message holds the end of its log."""


class Service:
    """``liveweights up`` on ``home``, in a session of its own: Ctrl-C on the terminal reaches
    only whoever started it, who then stops it in order."""

    def __init__(self, home: Path, config: Path, port: int, log: Path, *, model: str = "") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._place = ["--home", str(home), "--config", str(config)]
        command = [*self.command("up"), "--port", str(port)]
        if model:
            command += ["--model", model]
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, *words: str) -> list[str]:
        """How to run a ``liveweights`` command on this service's home with its settings."""
        return [*_command(), *words, *self._place]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def last_line(self) -> str:
        """The last line that the service logged, for showing that something happens."""
        lines = self._tail(1)
        return lines[0] if lines else ""

    async def wait(self, client: Client, timeout: float) -> None:
        """Return once ``/healthz`` answers. Raises ServiceFailed."""
        end = time.monotonic() + timeout
        while not await client.is_healthy():
            code = self._process.poll()
            if code is not None:
                raise ServiceFailed(f"the service ended with code {code}: {self._why()}")
            if time.monotonic() > end:
                raise ServiceFailed(f"not ready after {timeout:.0f} s: {self._why()}")
            await asyncio.sleep(0.3)

    def stop(self, patience: float = 60.0) -> None:
        """Ask the service to end, and end its process group if it does not within ``patience``
        seconds. Stopping twice does nothing."""
        if not self.is_running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _why(self) -> str:
        return f"the end of {self.log}:\n" + "\n".join(self._tail(25))

    def _tail(self, count: int) -> list[str]:
        with self.log.open("rb") as source:
            source.seek(0, os.SEEK_END)
            source.seek(max(0, source.tell() - 16_384))
            text = source.read().decode(errors="replace")
        # A progress bar rewrites its line: what counts is behind the last carriage return.
        lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
        return [line for line in lines if line][-count:]


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write nested settings as TOML; values are strings, numbers, booleans and flat lists."""
    path.write_text("\n".join(_toml(config, ())) + "\n", encoding="utf-8")


def _toml(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    # JSON's scalars and arrays are TOML's too.
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in table.items()
        if not isinstance(value, Mapping)
    ]
    if path and lines:
        lines = [f"[{'.'.join(path)}]", *lines]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml(value, (*path, key))
    return lines


def _command() -> list[str]:
    """How to run this installation's ``liveweights``."""
    beside = Path(sys.executable).with_name("liveweights")
    command = str(beside) if beside.exists() else shutil.which("liveweights")
    if command is None:
        raise ServiceFailed(f"no `liveweights` command beside {sys.executable} or on PATH")
    return [command]
