"""Where the circle stands, for people and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.progress import read_progress
from liveweights.record.read import totals
from liveweights.release import aliases
from liveweights.release.history import count_promotions
from liveweights.store.database import Connection


async def read_status(conn: Connection, name: str, home: Path) -> dict[str, Any]:
    """Alias, open cycle, last cycles and counts. Raises UnknownAlias."""
    alias = await aliases.read(conn, name)
    cycles = await ledger.recent(conn, name)
    generations, feedback = await totals(conn)
    current = next((c for c in cycles if c.outcome is None), None)
    shown = _describe(current) if current else None
    if current and shown is not None and current.state == "learning":
        shown["progress"] = read_progress(home, current.id)
    return {
        "alias": alias.name,
        "live": alias.live,
        "canary": alias.canary,
        "canary_share": alias.share,
        "cycle": shown,
        "cycles": [_describe(cycle) for cycle in cycles],
        "releases": await count_promotions(conn, name),
        "generations": generations,
        "feedback": feedback,
    }


def _describe(cycle: Cycle) -> dict[str, Any]:
    return {
        "id": cycle.id,
        "state": cycle.state,
        "outcome": cycle.outcome,
        "incumbent": cycle.incumbent,
        "candidate": cycle.candidate,
        "reason": cycle.reason,
        "learning": cycle.learning,
        "verdict": cycle.verdict,
        "canary": cycle.canary,
    }
