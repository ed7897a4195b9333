"""A process that is asked one thing and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that no process gets by its own fault."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: minus a signal's number where one ended it. ``messages`` is what it wrote as
    errors, or to either stream where both were one."""

    code: int
    output: bytes
    messages: str

    @property
    def was_killed(self) -> bool:
        """Whether it was ended from outside, most often for want of memory: what it was asked is
        not known, and may be had another time."""
        return -self.code in _FROM_OUTSIDE

    @property
    def last_line(self) -> str:
        return self.messages.strip().rpartition("\n")[2]


def describe(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, often for want of memory" if name == "SIGKILL" else name


async def run_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    apart: bool = True,
    shown: bool = False,
) -> Ended:
    """Run it without input until it ends; a wait that is cancelled, by a time-out too, kills it.

    ``apart``: its output and its errors are told apart; else ``messages`` is both, in order.
    ``shown``: its errors go where this process's go, and ``messages`` is empty. Raises OSError
    where there is no such program.
    """
    kept = asyncio.subprocess.PIPE if apart else asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if shown else kept,
        env=env,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    messages = b"" if shown else errors if apart else output
    return Ended(process.returncode, output, messages.decode(errors="replace"))
