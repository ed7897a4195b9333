"""Held-back rows under the incumbent and a candidate that was brought, for the gate."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from liveweights.cycle.ledger import Cycle
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.translation import translate
from liveweights.cycle.updating import remove_job, run_learner, write_job
from liveweights.gate.cases import CYCLES, is_held_back
from liveweights.learn.job import Job, Weights
from liveweights.record.followups import read_follow_ups
from liveweights.record.window import read_held_back
from liveweights.release.ancestry import root_of
from liveweights.store.database import Connection, Pool
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.registry import get, get_on_base
from liveweights.weights.whole import make_whole


async def score(pool: Pool, cycle: Cycle, settings: WorkerSettings, folder: Path) -> bool:
    """Let the learner's process score held-back rows under the incumbent and the candidate, into
    ``folder``; False where there are none.

    Raises LearnerFailed, Tampered, NotRegistered, DeltaError.
    """
    async with pool.connection() as conn:
        job, read = await _make_job(conn, cycle, settings)
    if not job.held_back:
        return False
    for one in read:
        await asyncio.to_thread(signing.check, one, None, settings.cache / HASHES)
    try:
        write_job(folder, job)
        await run_learner(folder)
    finally:
        remove_job(folder)
    return True


async def _make_job(
    conn: Connection, cycle: Cycle, settings: WorkerSettings
) -> tuple[Job, tuple[Checkpoint, ...]]:
    """What is to be scored, and the checkpoints that are read for it: rows that this cycle and
    those before it held back, and whose side of the split still is; in words where another base
    answered."""
    assert cycle.candidate is not None
    examples = await read_held_back(
        conn, cycle.alias, cycle.id, cycles=CYCLES, most=settings.learn.max_scored
    )
    share = settings.learn.held_back_share
    examples = [one for one in examples if is_held_back(one.generation, share)]
    root = await root_of(conn, cycle.incumbent) or cycle.incumbent
    incumbent, base = await get_on_base(conn, cycle.incumbent)
    candidate, its_base = await get_on_base(conn, cycle.candidate)
    read = tuple(dict.fromkeys((incumbent, base, candidate, its_base)))
    find = partial(get, conn)
    ours, theirs = [await make_whole(one, find, settings.cache) for one in (base, its_base)]
    job = Job(
        base=str(ours.folder),
        parent=str(incumbent.folder) if incumbent.kind == "adapter" else None,
        incumbent=incumbent.id,
        train=[],
        held_back=await translate(conn, examples, root, settings.template),
        follow_ups=await read_follow_ups(conn, cycle.id),
        baseline_weight={},
        baseline_total={},
        rewards=settings.rewards,
        settings=settings.learn,
        template=settings.template,
        candidate=Weights(
            base=str(theirs.folder),
            adapter=str(candidate.folder) if candidate.kind == "adapter" else None,
        ),
    )
    return job, read
