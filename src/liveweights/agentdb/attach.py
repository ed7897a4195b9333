"""How a process that needs databases finds, starts and stops their host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from liveweights.agentdb.endpoint import Endpoint, has_host, read_endpoint
from liveweights.agentdb.errors import HostError
from liveweights.agentdb.settings import DatabaseSettings
from liveweights.file_modes import make_home
from liveweights.store.embedded import EmbeddedPostgres, port_in_use

LOG_LIMIT = 2**20
"""Bytes of the host's own log; when it is started, a longer one is put aside."""


async def attach(folder: Path, settings: DatabaseSettings, patience: float = 300.0) -> Endpoint:
    """Where the server of ``folder`` is; starts its host if there is none. Raises HostError."""
    child: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + patience
    while True:
        if has_host(folder):
            if endpoint := read_endpoint(folder):
                return endpoint
        elif child is None:
            child = spawn(folder, settings)
        elif child.poll() is not None:
            if child.returncode:
                raise HostError(f"the server of {folder} did not start:\n{_tail(folder)}")
            child = None  # another one was quicker, and has ended since
        if time.monotonic() > deadline:
            raise HostError(f"the server of {folder} did not start in time:\n{_tail(folder)}")
        await asyncio.sleep(0.02)


def spawn(folder: Path, settings: DatabaseSettings) -> subprocess.Popen[bytes]:
    """Start a host that outlives this process."""
    make_home(folder)
    command = [sys.executable, "-m", "liveweights.agentdb.host", str(folder.resolve())]
    log = folder / "host.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(folder / "host.log.old")
    with log.open("ab") as output:
        return subprocess.Popen(
            [*command, msgspec.json.encode(settings).decode()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def stop(
    folder: Path, settings: DatabaseSettings, *, destroy: bool = False, patience: float = 300.0
) -> None:
    """End the host of ``folder`` and its server; with ``destroy`` remove all databases. Raises
    HostError where it does not end within ``patience`` seconds."""
    if not has_host(folder) and port_in_use(folder / "postgres") and not destroy:
        await attach(folder, settings)  # the host was killed: a new one takes over the server
    deadline = time.monotonic() + patience
    while has_host(folder):
        pid = (folder / "host.lock").read_text().strip()
        if pid.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        if time.monotonic() > deadline:
            raise HostError(
                f"the host of {folder} (process {pid}) does not end: kill it (kill -9 {pid}) and "
                f"stop the server again\n{_tail(folder)}"
            )
        await asyncio.sleep(0.1)
    if destroy:
        await asyncio.to_thread(EmbeddedPostgres(folder / "postgres").destroy)
        for name in ("boot", "endpoint.json", "host.log", "host.log.old", "port", "secret"):
            (folder / name).unlink(missing_ok=True)


def _tail(folder: Path, lines: int = 20) -> str:
    path = folder / "host.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
