"""Which processes run. Each may end while it is looked at: then it is not there."""

from __future__ import annotations

import psutil


def is_alive(pid: int) -> bool:
    """Whether it has not ended; nobody may be there to reap it in a container."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def list_children(argument: str) -> list[int]:
    """The living ones that this process has started with such an argument."""
    return [one.pid for one in psutil.Process().children() if _has(one, argument)]


def list_running(argument: str) -> list[int]:
    """The living ones of the whole machine that were started with such an argument."""
    return [one.pid for one in psutil.process_iter() if _has(one, argument)]


def _has(process: psutil.Process, argument: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and argument in process.cmdline()
    except psutil.NoSuchProcess:
        return False
