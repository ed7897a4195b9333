"""Taking back what a cycle had begun that others than the worker ended: a user whose rows it read
was forgotten, or somebody cancelled it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from liveweights.cycle.ledger import Cycle
from liveweights.release import aliases, canaries, deployments
from liveweights.release.strays import remove_strays
from liveweights.store.database import Connection
from liveweights.weights.registry import Registry


def work_folder(home: Path, cycle: int) -> Path:
    """Where a cycle's update and gate keep their files."""
    return home / "cycles" / str(cycle)


def unlearning_folder(home: Path) -> Path:
    """Where cycles are computed anew; nothing in it outlives that."""
    return home / "unlearning"


async def is_clear(conn: Connection, home: Path, cycle: Cycle) -> bool:
    """Whether nothing is left of a cycle that was broken off."""
    if await asyncio.to_thread(work_folder(home, cycle.id).exists):
        return False
    if cycle.candidate is None:
        return True
    return (await aliases.read(conn, cycle.alias)).canary != cycle.candidate


async def clear(conn: Connection, home: Path, cycle: Cycle) -> None:
    """End its canary, let its candidate go, and remove its files, its work last: where that is
    gone, all is. For whoever has the lease of the alias's cycles, while no step runs."""
    if cycle.candidate is not None:
        await canaries.abort_canary(
            conn,
            cycle.alias,
            checkpoint=cycle.candidate,
            cycle=cycle.id,
            reason=cycle.reason or "",
        )
        await deployments.let_go(conn, cycle.candidate)
    await conn.commit()
    await remove_strays(conn, Registry(home / "checkpoints"))
    await asyncio.to_thread(shutil.rmtree, work_folder(home, cycle.id), ignore_errors=True)
