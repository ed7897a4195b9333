"""Removing the files of a cycle that others than the worker ended: a user whose rows it read was
forgotten, or somebody cancelled it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from liveweights.cycle.ledger import Cycle
from liveweights.release.deployments import let_go
from liveweights.release.strays import remove_strays
from liveweights.store.database import Connection
from liveweights.weights.registry import Registry


def work_folder(home: Path, cycle: int) -> Path:
    """Where a cycle's update and gate keep their files."""
    return home / "cycles" / str(cycle)


def unlearning_folder(home: Path) -> Path:
    """Where cycles are computed anew; nothing in it outlives that."""
    return home / "unlearning"


async def is_clear(home: Path, cycle: Cycle) -> bool:
    """Whether nothing is left of a cycle that was broken off."""
    return not await asyncio.to_thread(work_folder(home, cycle.id).exists)


async def clear(conn: Connection, home: Path, cycle: Cycle) -> None:
    """Let its candidate go once more, which the step that was broken off may have kept, and remove
    its files, its work last: where that is gone, all is. For whoever has the lease of the alias's
    cycles, while no step runs."""
    if cycle.candidate is not None:
        await let_go(conn, cycle.candidate)
    await conn.commit()
    await remove_strays(conn, Registry(home / "checkpoints"))
    await asyncio.to_thread(shutil.rmtree, work_folder(home, cycle.id), ignore_errors=True)
