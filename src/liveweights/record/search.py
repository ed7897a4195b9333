"""Answers by what is in them and was said of them: looked for among the newest, without an index.

An index of all words would cost each write more than the answer's own row; so each look goes
through a bounded number of answers, and says how far it came.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from liveweights.record.feedback import Signal
from liveweights.record.listing import (
    SHOWN,
    Listed,
    Selection,
    choose,
    parameters_of,
    read_listed,
)
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

SCANNED = 4_000
"""Answers that one look goes through."""
STEP = 2_000
"""Those that it takes at once, as long as too few were wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``signal`` was said of the answer; ``text`` is part of it or of what was said of it, in
    whatever case; it took at least ``slower`` milliseconds. None leaves the choice open."""

    signal: Signal | None = None
    text: str | None = None
    slower: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was met, newest first; ``reached`` is the time and id of the last answer that was looked
    at where there may be older ones, None where all were."""

    answers: list[Listed]
    reached: tuple[datetime, str] | None


# With `exists` the planner may prefer to read the feedback of all answers once.
SCAN = """
select g.id, created_at,
    (%(slower)s::float8 is null or total_ms >= %(slower)s)
    and (%(signal)s::text is null or coalesce((
        select true from feedback f
        where f.day = g.day and f.generation = g.id and f.signal = %(signal)s limit 1), false))
    and (%(text)s::text is null or output ilike %(text)s or coalesce((
        select true from feedback f
        where f.day = g.day and f.generation = g.id and f.text ilike %(text)s limit 1), false))
    as met
from generations g
"""
LOOK = f"""
with scanned as materialized (
    {choose(SCAN)}
), newest as (
    select id, created_at from scanned where met order by created_at desc, id desc limit %(most)s
)
select id, created_at, true from newest
union all (
    select id, created_at, false from scanned
    where (select count(*) from scanned) >= %(count)s order by created_at, id limit 1)
order by 3, 2 desc, 1 desc
"""
THESE = f"{SHOWN} where day = any(%(days)s) and id = any(%(ids)s) order by created_at desc, id desc"


async def search_answers(
    conn: Connection, chosen: Selection, wanted: Wanted, most: int, *, scanned: int = SCANNED
) -> Look:
    """At most ``most`` answers that are wanted, among the newest ``scanned`` of those chosen."""
    text = wanted.text and f"%{_literal(wanted.text)}%"
    parameters = {"signal": wanted.signal, "text": text, "slower": wanted.slower}
    ids: list[str] = []
    reached, left = chosen.before, scanned
    while left and len(ids) < most:
        count = min(STEP, left)
        part = replace(chosen, before=reached)
        sizes = {"most": most - len(ids), "count": count}
        cursor = await conn.execute(LOOK.encode(), parameters_of(part) | parameters | sizes)
        rows = await cursor.fetchall()
        ids += [id_ for id_, _, met in rows if met]
        reached = next(((at, id_) for id_, at, met in rows if not met), None)
        if reached is None:
            break
        left -= count
    days = sorted({day_of(id_) for id_ in ids})
    answers = await read_listed(conn, THESE, {"days": days, "ids": ids}) if ids else []
    return Look(answers=answers, reached=reached)


def _literal(text: str) -> str:
    """As a pattern of ``like`` that only this text matches."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
