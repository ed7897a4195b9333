"""Where the circle stands, for people and programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.next_turn import read_next
from liveweights.cycle.pauses import read_pause
from liveweights.cycle.progress import read_progress
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.states import State, decide_start
from liveweights.holder import Holder
from liveweights.record.read import totals
from liveweights.release import aliases, branches
from liveweights.release.history import count_promotions
from liveweights.store.database import Connection

ASKING: tuple[State, ...] = ("calibrating", "gating")


async def read_status(conn: Connection, settings: WorkerSettings, home: Path) -> dict[str, Any]:
    """Alias, open cycle or what the next one waits for, whose worker takes it on, who paused
    learning, last cycles, counts, and what tenants have of their own. Raises UnknownAlias."""
    name = settings.alias
    alias = await aliases.read(conn, name)
    cycles = await ledger.recent(conn, name)
    generations, feedback = await totals(conn)
    current = next((c for c in cycles if c.outcome is None), None)
    shown = _describe(current) if current else None
    if current and shown is not None:
        shown["progress"] = progress_of(current, home)
    return {
        "alias": alias.name,
        "live": alias.live,
        "canary": alias.canary,
        "canary_share": alias.share,
        "worker": await _read_worker(conn, name),
        "paused": await read_pause(conn, name),
        "cycle": shown,
        "next": None if current else await _read_next(conn, settings),
        "cycles": [_describe(cycle) for cycle in cycles],
        "tenants": [asdict(own) for own in await branches.read_own(conn, name)],
        "releases": await count_promotions(conn, name),
        "generations": generations,
        "feedback": feedback,
    }


def standing(cycle: Cycle) -> str:
    """What the cycle comes to now, in a word or two: what it released may have been taken back
    since."""
    if cycle.outcome is None:
        return "open"
    name = cycle.outcome.replace("_", " ")
    return f"{name}, then taken back" if cycle.withdrawn else name


def progress_of(cycle: Cycle, home: Path) -> dict[str, Any] | None:
    """Of the step that the cycle is at; what the one before it told is of no interest."""
    progress = read_progress(home, cycle.id)
    if progress is None or cycle.state not in ("learning", *ASKING):
        return None
    return progress if (progress["stage"] == "asking") == (cycle.state in ASKING) else None


async def _read_worker(conn: Connection, alias: str) -> str | None:
    """Who advances the cycles; None where nobody does, or one that ran here and does no more."""
    lease = await ledger.read_lease(conn, ledger.lease_of(alias))
    if lease is None:
        return None
    holder = Holder.decode(lease[0])
    if holder is None:
        return lease[0]
    return None if holder.is_dead() else str(holder)


async def _read_next(conn: Connection, settings: WorkerSettings) -> dict[str, str]:
    news, attempt = await read_next(conn, settings)
    start = decide_start(
        news,
        settings.cycle,
        pause=attempt.pause,
        wanted=attempt.wanted,
        follow_ups=attempt.follow_ups,
    )
    return {"waits_for": start.waits_for, "differs": attempt.why}


def _describe(cycle: Cycle) -> dict[str, Any]:
    return {
        "id": cycle.id,
        "state": cycle.state,
        "outcome": cycle.outcome,
        "standing": standing(cycle),
        "incumbent": cycle.incumbent,
        "candidate": cycle.candidate,
        "reason": cycle.reason,
        "learning": cycle.learning,
        "verdict": cycle.verdict,
        "canary": cycle.canary,
    }
