"""What the learner is given for a cycle: rows that it claimed, and what it starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from liveweights.cycle.held_back import read_earlier
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.lessons import as_lesson
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.translation import translate
from liveweights.cycle.trial import recomputes
from liveweights.learn.baseline import Baseline
from liveweights.learn.job import Job, Weights
from liveweights.learn.settings import LearnSettings
from liveweights.record.followups import read_follow_ups
from liveweights.record.window import read
from liveweights.release.ancestry import owner_of, root_of
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import get, get_on_base
from liveweights.weights.whole import make_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What an update starts from: weights and what they are on, a baseline, and settings. With
    ``until`` what users of chats said next is read up to then."""

    origin: Checkpoint
    base: Checkpoint
    baseline: Baseline
    learn: LearnSettings
    until: datetime | None = None


async def is_own(conn: Connection, cycle: Cycle) -> bool:
    """Whether the cycle goes on from its incumbent: in a tenant's branch only from what has learnt
    from that tenant alone."""
    return cycle.tenant is None or await owner_of(conn, cycle.incumbent) == cycle.tenant


async def _find_weights(conn: Connection, id: str, cache: Path) -> Weights:
    checkpoint, base = await get_on_base(conn, id)
    whole = await make_whole(base, partial(get, conn), cache)
    adapter = None if checkpoint is base else str(checkpoint.folder)
    return Weights(base=str(whole.folder), adapter=adapter)


async def make_job(conn: Connection, cycle: Cycle, settings: WorkerSettings, start: Start) -> Job:
    """Raises NotRegistered, DeltaError."""
    root = await root_of(conn, start.base.id) or start.base.id
    claimed, held_back = [
        await translate(conn, await read(conn, cycle.id, split), root, settings.template)
        for split in ("train", "held_back")
    ]
    whole = await make_whole(start.base, partial(get, conn), settings.cache)
    origin = start.origin
    own = await is_own(conn, cycle)
    return Job(
        base=str(whole.folder),
        parent=str(origin.folder) if origin.kind == "adapter" else None,
        # Whose answers are those of the weights that it starts from: of a cycle that is computed
        # anew from others, not those that it had.
        incumbent=origin.id,
        rival=None if own else await _find_weights(conn, cycle.incumbent, settings.cache),
        train=[as_lesson(one, settings.model) for one in claimed],
        held_back=held_back,
        follow_ups=await read_follow_ups(conn, cycle.id, start.until),
        # A cycle that was computed anew knows as much of its users as the one before it.
        earlier=await read_earlier(
            conn, replace(cycle, id=recomputes(cycle) or cycle.id), settings.learn
        ),
        baseline_weight=dict(start.baseline.weight),
        baseline_total=dict(start.baseline.total),
        rewards=settings.rewards,
        settings=start.learn,
        template=settings.template,
        ways=str(settings.cache / "ways"),
    )
