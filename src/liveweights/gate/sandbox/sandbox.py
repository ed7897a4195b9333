"""Runs one program in bubblewrap, and says how it ended."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from typing import Any, Literal

import msgspec
import psutil

from liveweights.gate.sandbox import seccomp
from liveweights.gate.sandbox.bubblewrap import (
    SandboxUnavailable,
    bubblewrap,
    find_bubblewrap,
    find_prlimit,
    find_python,
    identity,
)
from liveweights.gate.sandbox.cgroups import Cgroups, Group, find_cgroups
from liveweights.gate.sandbox.limits import Limits, rlimits
from liveweights.machine import ProcessHandle

Ended = Literal["exit", "time", "memory", "processes", "output"]
CHUNK = 65_536
# Waits for one line, so that it is in its cgroup before anything of the sandbox runs. `read` takes
# a pipe byte by byte: what follows the line is the program's own input. Without a line, whoever
# started it is gone.
LAUNCHER = 'IFS= read -r go && exec "$@"'


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended: by itself with ``code``, or at which limit. Output is cut there."""

    ended: Ended
    code: int | None
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        return self.ended == "exit" and self.code == 0

    def fault(self, otherwise: str) -> str:
        """Why it did not end well, in at most 200 characters: the limit that it reached, else the
        last line of its errors, or ``otherwise`` where it wrote none."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return (self.ended if self.ended != "exit" else lines[-1] if lines else otherwise)[:200]


@dataclass(frozen=True, slots=True)
class Running:
    """A program in its sandbox, whose pipes are ``process``'s."""

    process: asyncio.subprocess.Process
    group: Group | None
    handle: ProcessHandle
    status: FileIO
    """What bubblewrap says of the sandbox."""

    def has_run(self) -> bool:
        """Whether the sandbox could be made, and the program came to an end in it; asked once, when
        the process has ended."""
        return b"exit-code" in (self.status.read(CHUNK) or b"")

    def kill(self) -> None:
        """It and all that it started.

        Bubblewrap's first process ends with it only once its mounts are made: killed before that,
        it would leave a program that runs on.
        """
        if self.process.returncode is not None:
            return
        # By handle: asking the process object would reap it behind the event loop's back.
        for started in self.handle.halt():
            with suppress(psutil.NoSuchProcess):
                started.kill()
        self.handle.kill()
        if self.group:
            self.group.kill()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way to run programs here; `open_sandbox` finds it."""

    program: str
    prlimit: str
    python: str
    cgroups: Cgroups
    filter: bytes | None
    """Of system calls, as ``seccomp.build`` gives it; None where there is none."""

    @property
    def enforcement(self) -> dict[str, str]:
        """What holds each limit on this machine."""
        group = f"cgroup v{self.cgroups.version}"
        return {
            "memory": group if self.cgroups.holds("memory") else "rlimit, per process",
            "processes": group if self.cgroups.holds("pids") else "rlimit, per user",
            "processor": "rlimit, per process",
            "disk": "tmpfs",
            "time": "clock",
            "output": "pipe",
            "system calls": "seccomp"
            if self.filter
            else f"not filtered: no seccomp here ({platform.machine()})",
        }

    async def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits | None = None,
        writable: Sequence[str] = ("/tmp",),
    ) -> Outcome:
        """Run to the end or to a limit; nothing of it is left running. Raises SandboxUnavailable
        where the sandbox could not be made, or the program not be started in it."""
        limits = limits or Limits()
        began = time.perf_counter()
        ended: Ended = "exit"
        async with self.start(command, limits, writable) as running:
            process, group = running.process, running.group
            kept = _Kept(limits.output, running)
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(_feed(process, stdin))
                pipes.create_task(kept.read(process.stdout, kept.out))
                pipes.create_task(kept.read(process.stderr, kept.err))
                try:
                    async with asyncio.timeout(limits.seconds):
                        code = await process.wait()
                except TimeoutError:
                    ended = "time"
                    running.kill()
                    code = await process.wait()
            if kept.full:
                ended = "output"
            if ended == "exit" and code != 0:
                if group and group.killed_for_memory():
                    ended = "memory"
                elif group and group.refused_processes():
                    ended = "processes"
                elif code > 0 and not running.has_run():
                    why = kept.err.decode(errors="replace").strip()
                    raise SandboxUnavailable(f"the sandbox could not be made: {why[-500:]}")
        return Outcome(
            ended=ended,
            code=code if ended == "exit" else None,
            stdout=bytes(kept.out),
            stderr=bytes(kept.err),
            seconds=time.perf_counter() - began,
        )

    @asynccontextmanager
    async def start(
        self,
        command: Sequence[str],
        limits: Limits,
        writable: Sequence[str],
    ) -> AsyncGenerator[Running]:
        """The running program with its pipes; it and all it started end with the context."""
        source, told = os.pipe()
        os.set_blocking(source, False)
        with FileIO(source) as status:
            try:
                process = await self._spawn(command, limits, writable, told)
            finally:
                os.close(told)
            group: Group | None = None
            handle = ProcessHandle(process.pid)
            try:
                if self.cgroups.parents:
                    group = self.cgroups.create(limits)
                    group.add(process.pid)
                assert process.stdin is not None
                process.stdin.write(b"\n")
                yield Running(process, group, handle, status)
            finally:
                await _end(Running(process, group, handle, status))
                handle.close()
                if group:
                    await group.remove()

    async def _spawn(
        self, command: Sequence[str], limits: Limits, writable: Sequence[str], told: int
    ) -> asyncio.subprocess.Process:
        """What waits for a line, and then is the sandbox, whose status goes to ``told``."""
        uid = identity()
        held = self.cgroups.holds
        lowered = rlimits(
            limits,
            os.geteuid() if uid is None else uid,
            memory=not held("memory"),
            processes=not held("pids"),
        )
        changed: dict[str, Any] = {}
        if uid is not None:
            changed = {"user": uid, "group": uid, "extra_groups": ()}
        with _readable(self.filter) as descriptor:
            made = bubblewrap(
                self.program, command, writable, limits, filter_from=descriptor, status_to=told
            )
            return await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", LAUNCHER, "sh", self.prlimit, *lowered, *made),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(told,) if descriptor is None else (told, descriptor),
                cwd="/",
                env={},  # bubblewrap's own can be read from inside
                **changed,
            )


async def open_sandbox() -> Sandbox:
    """Find what is needed, and try it. Raises SandboxUnavailable."""
    architecture = seccomp.current()
    sandbox = Sandbox(
        find_bubblewrap(),
        find_prlimit(),
        find_python(),
        find_cgroups(),
        architecture and seccomp.build(architecture),
    )
    try:
        tried = await sandbox.run(["cat", "/proc/self/status"], limits=Limits(seconds=30))
    except SandboxUnavailable as error:
        raise SandboxUnavailable(
            f"bubblewrap does not work here: {error}; unprivileged user"
            " namespaces must be allowed (in a container: a seccomp profile that permits them; on"
            " Ubuntu: an AppArmor profile for bwrap)"
        ) from error
    if not tried.ok:
        raise SandboxUnavailable(f"a program does not run in a sandbox here: {tried.fault('')}")
    if sandbox.filter and b"\nSeccomp:\t2\n" not in tried.stdout:
        raise SandboxUnavailable("bubblewrap made a sandbox without the filter of system calls")
    return sandbox


@contextmanager
def _readable(data: bytes | None) -> Generator[int | None]:
    """A descriptor from which a child process reads ``data``, less than a pipe holds."""
    if data is None:
        yield None
        return
    source, sink = os.pipe()
    try:
        try:
            os.write(sink, data)
        finally:
            os.close(sink)
        yield source
    finally:
        os.close(source)


class _Kept:
    """Both outputs together up to a limit, at which the process is ended."""

    def __init__(self, limit: int, running: Running) -> None:
        self.out = bytearray()
        self.err = bytearray()
        self.full = False
        self._left = limit
        self._running = running

    async def read(self, stream: asyncio.StreamReader | None, into: bytearray) -> None:
        assert stream is not None
        while chunk := await stream.read(CHUNK):
            into += chunk[: self._left]
            if len(chunk) > self._left:
                self.full = True
                self._running.kill()
            self._left = max(0, self._left - len(chunk))


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read what it is given
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _end(running: Running) -> None:
    """Kill, and read what is left: a full pipe would keep it from being seen to end."""
    running.kill()
    process = running.process
    for stream in (process.stdout, process.stderr):
        while stream and await stream.read(CHUNK):
            pass
    await process.wait()
