"""A process that is asked one thing and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: minus a signal's number where one ended it. ``messages`` is what it wrote as
    errors, or to either stream where both were one."""

    code: int
    output: bytes
    messages: str

    @property
    def last_line(self) -> str:
        return self.messages.strip().rpartition("\n")[2]


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
