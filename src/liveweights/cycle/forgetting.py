"""A user's right to be forgotten, in all that a service keeps."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.restarting import clear, is_clear, unlearning_folder, work_folder
from liveweights.record.clean import clip_person
from liveweights.record.forget import Forgotten, Traces
from liveweights.record.forgotten_files import forget_everywhere
from liveweights.record.leftovers import drop_spilled
from liveweights.record.unfinished import finish, read_unfinished
from liveweights.release.strays import remove_strays
from liveweights.store.database import Also, Connection
from liveweights.store.erasure import erase
from liveweights.store.partitions import TABLES, partition
from liveweights.weights.registry import Registry

PATIENCE = 120.0
"""Seconds to wait for a running worker to break off, and for a running writer."""
REASON = "a user whose rows it had read was forgotten; the next cycle reads the others"
WORDS = (
    *("feedback_keys", "cycle_rows", "cycles", "shadow_answers", "drafts", "responses"),
    *("conversations", "conversation_items", "follow_ups", "dropped_reads"),
    *("quarantine", "generations_undated", "feedback_undated", "last_seen"),
)
"""Tables in which a user's rows were, besides those of the days."""


@dataclass(frozen=True, slots=True)
class Done:
    """``days`` are archives that were written anew, ``restarted`` the cycles that had read rows and
    were open. ``left`` says in sentences what may still hold the user's words, and what to do."""

    forgotten: Forgotten
    days: list[date]
    restarted: list[int]
    left: list[str]


async def forget_user(
    conn: Connection,
    home: Path,
    tenant: str,
    user: str,
    *,
    archive: Path,
    is_embedded: bool,
    also: Also | None = None,
) -> Done:
    """Remove the user's rows everywhere, then what was made of them in files: those of cycles that
    had read them, rows that wait on disk, and the bytes that an embedded server would leave.
    ``archive`` is the folder of whole days. ``also`` is awaited in the transaction that removes the
    rows.

    An open cycle that had read them ends, without a release, and the next begins with the rest.
    Killed anywhere, or with something left, the same call goes on with it. ``conn`` is outside any
    transaction. Raises ArchiveError, ParquetUnavailable.
    """

    async def end_cycles(conn: Connection, trace: Traces) -> None:
        await ledger.restart(conn, trace.cycles, REASON)
        await ledger.remove_messages(conn, trace.cycles)
        if also is not None:
            await also(conn)

    done = await forget_everywhere(conn, tenant, user, archive, also=end_cycles)
    left = [*done.left]
    unfinished = await read_unfinished(conn, tenant, user)
    restarted = await ledger.find_restarted(conn, unfinished.cycles)
    await conn.commit()
    for cycle in restarted:
        left += await _take_back(conn, home, cycle)
    for cycle in {*unfinished.cycles} - {one.id for one in restarted}:
        await asyncio.to_thread(shutil.rmtree, work_folder(home, cycle), ignore_errors=True)
    # Left by an unlearning that was killed; one that goes on has read the user's rows.
    await asyncio.to_thread(shutil.rmtree, unlearning_folder(home), ignore_errors=True)
    # Of a cycle that failed just then; of those that were restarted none is there any more.
    await remove_strays(conn, Registry(home / "checkpoints"))
    await conn.commit()
    owner = tenant, clip_person(user)
    left += await asyncio.to_thread(drop_spilled, home / "spill", owner, PATIENCE)
    if is_embedded:
        left += await _erase(conn, unfinished.days)
    if not left:
        await finish(conn, unfinished)
        await conn.commit()
    return Done(done.forgotten, done.days, [cycle.id for cycle in restarted], left)


async def _take_back(conn: Connection, home: Path, cycle: Cycle) -> list[str]:
    """By the worker that is at it, or here, if none is alive."""
    name, owner = ledger.lease_of(cycle.alias), f"forget-{os.getpid()}"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if await is_clear(home, cycle):
            return []
        if await ledger.take_lease(conn, name, owner, PATIENCE):
            await conn.commit()
            try:
                await clear(conn, home, cycle)
            finally:
                await ledger.release_lease(conn, name, owner)
                await conn.commit()
            return []
        await conn.commit()
        await asyncio.sleep(0.2)
    return [
        f"the worker is still at cycle {cycle.id}; it will end it and remove"
        f" {work_folder(home, cycle.id)}"
    ]


async def _erase(conn: Connection, days: Sequence[date]) -> list[str]:
    await conn.commit()
    dated: Sequence[str] = [partition(table, day) for day in days for table in TABLES]
    left = await erase(conn, [*dated, *WORDS])
    return [
        f"removed rows stay in the files of table {table} until Postgres writes there: it is too"
        f" large or too busy to be rewritten now; do it in a quiet hour with"
        f" `vacuum (full, analyze) {table}`"
        for table in left
    ]
