"""How a canary went: what the releases say of its time, and of its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from liveweights.store.database import Connection


@dataclass(frozen=True, slots=True)
class Course:
    """How a canary went so far. ``shown`` is since when anyone sees it; seconds leave out holds."""

    began: datetime
    shown: datetime | None
    now: datetime
    seconds: float


def chart(changes: Sequence[tuple[str, float | None, datetime]], now: datetime) -> Course:
    """The course from a canary's releases (action, share, time), oldest first."""
    shown = running = None
    seconds, held = 0.0, False
    for action, share, at in changes:
        shown = at if shown is None and share else shown
        held = action == "hold" or (held and action != "resume")
        if held and running:
            seconds, running = seconds + (at - running).total_seconds(), None
        elif shown and not held and running is None:
            running = at
    if running:
        seconds += (now - running).total_seconds()
    return Course(changes[0][2], shown, now, seconds)


async def read_course(conn: Connection, alias: str, candidate: str) -> Course:
    """Raises LookupError where the checkpoint never was a canary of the alias."""
    cursor = await conn.execute(
        "select action, share, at, now() from releases where alias = %(alias)s"
        " and checkpoint = %(candidate)s and action in ('canary', 'step', 'hold', 'resume')"
        " and id >= (select max(id) from releases where alias = %(alias)s"
        "  and checkpoint = %(candidate)s and action = 'canary') order by id",
        {"alias": alias, "candidate": candidate},
    )
    rows = await cursor.fetchall()
    if not rows:
        raise LookupError(f"{candidate} has not been a canary of {alias!r}")
    return chart([(action, share, at) for action, share, at, _ in rows], rows[0][3])


async def read_reason(conn: Connection, alias: str, checkpoint: str) -> str:
    """Why a checkpoint's canary ended, or why it was taken back, as it was said last."""
    cursor = await conn.execute(
        "select action, reason from releases where alias = %(alias)s and"
        " (checkpoint = %(id)s and action in ('promote', 'abort')"
        "  or previous = %(id)s and action = 'rollback') order by id desc limit 1",
        {"alias": alias, "id": checkpoint},
    )
    row = await cursor.fetchone()
    return f"{row[0]} by hand: {row[1]}" if row else "the canary ended"
