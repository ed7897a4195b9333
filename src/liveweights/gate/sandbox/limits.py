"""What a sandboxed program may use, and the part of it that rlimits hold."""

from __future__ import annotations

import msgspec

from liveweights.machine import count_threads

MIB = 1024 * 1024
OPEN_FILES = 256


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``memory``, ``disk`` (each writable folder) and ``output`` are in bytes.

    ``seconds`` is wall time, and also the processor time of any one process.
    """

    seconds: float = 10.0
    memory: int = 512 * MIB
    processes: int = 32
    disk: int = 64 * MIB
    output: int = MIB


def rlimits(limits: Limits, uid: int, *, memory: bool, processes: bool) -> list[str]:
    """As arguments of util-linux's ``prlimit``; memory and processes where no cgroup holds them.

    ``--as`` bounds each process's address space, not what all of them hold together. ``--nproc``
    counts all of a user's threads, so those that are there already come on top.
    """
    values = {
        "core": 0,
        "cpu": max(1, round(limits.seconds + 0.5)),
        "fsize": limits.disk,
        "nofile": OPEN_FILES,
    }
    if memory:
        values["as"] = limits.memory
    if processes:
        values["nproc"] = limits.processes + count_threads(uid)
    return [f"--{name}={value}" for name, value in values.items()]
