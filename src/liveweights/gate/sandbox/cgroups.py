"""Memory and processes of a whole sandbox, bounded by cgroups v1 or v2 where we may make them."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liveweights.gate.sandbox.limits import Limits
from liveweights.machine import PROC, control_groups

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where new groups go, by controller ("memory", "pids"); both are the same folder in v2."""

    version: int | None
    parents: dict[str, Path]

    def holds(self, controller: str) -> bool:
        return controller in self.parents

    def create(self, limits: Limits) -> Group:
        """A group with these limits, empty as yet. Raises OSError."""
        name = f"liveweights-{os.getpid()}-{next(_numbers)}"
        folders: dict[str, Path] = {}
        for controller, parent in self.parents.items():
            folder = parent / name
            folder.mkdir(exist_ok=True)
            folders[controller] = folder
        group = Group(self.version, folders)
        group.limit(limits)
        return group


@dataclass(frozen=True, slots=True)
class Group:
    """One sandbox's cgroup: one folder per controller."""

    version: int | None
    folders: dict[str, Path]

    def limit(self, limits: Limits) -> None:
        if pids := self.folders.get("pids"):
            _write(pids / "pids.max", limits.processes)
        memory = self.folders.get("memory")
        if memory and self.version == 1:
            _write(memory / "memory.limit_in_bytes", limits.memory)
            with suppress(FileNotFoundError):  # where the kernel does not count swap
                _write(memory / "memory.memsw.limit_in_bytes", limits.memory)
        elif memory:
            _write(memory / "memory.max", limits.memory)
            with suppress(FileNotFoundError):
                _write(memory / "memory.swap.max", 0)

    def add(self, pid: int) -> None:
        for folder in dict.fromkeys(self.folders.values()):
            _write(folder / "cgroup.procs", pid)

    def killed_for_memory(self) -> bool:
        folder = self.folders.get("memory")
        if folder is None:
            return False
        file = "memory.oom_control" if self.version == 1 else "memory.events"
        return _count(folder / file, "oom_kill") > 0

    def refused_processes(self) -> bool:
        folder = self.folders.get("pids")
        return folder is not None and _count(folder / "pids.events", "max") > 0

    def kill(self) -> None:
        """Whatever is in it now."""
        for folder in dict.fromkeys(self.folders.values()):
            for pid in _members(folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def remove(self) -> None:
        """End whatever is left in it, and the group. Raises OSError if it stays busy for 5 s."""
        for folder in dict.fromkeys(self.folders.values()):
            for attempt in itertools.count():
                self.kill()
                try:
                    folder.rmdir()
                    break
                except OSError:  # the kernel is still reaping
                    if attempt >= 500:
                        raise
                    await asyncio.sleep(0.01)


def find_cgroups(proc: Path = PROC) -> Cgroups:
    """What may be used here: v2, else v1, else nothing. Makes and removes a group to see."""
    groups = control_groups(proc)
    for group in groups:
        for parent in group.upwards() if group.version == 2 else ():
            with suppress(OSError):
                enabled = (parent / "cgroup.subtree_control").read_text().split()
                if {"memory", "pids"} <= {*enabled} and _may_create(parent):
                    return Cgroups(2, {"memory": parent, "pids": parent})
    parents = {
        group.controller: group.folder
        for group in groups
        if group.controller in {"memory", "pids"} and _may_create(group.folder)
    }
    return Cgroups(1 if parents else None, parents)


def _may_create(parent: Path) -> bool:
    probe = parent / f"liveweights-{os.getpid()}-probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def _members(folder: Path) -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    return []


def _count(file: Path, key: str) -> int:
    with suppress(OSError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    return 0


def _write(file: Path, value: int) -> None:
    if not file.exists():
        raise FileNotFoundError(file)
    file.write_text(str(value))
