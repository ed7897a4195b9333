"""Pages of cycles: all of a model, and one with what it read, learnt, and was judged by."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.path import Station, read_path
from liveweights.console.subject import Asked, Subject, missing
from liveweights.cycle.report import read_report
from liveweights.store.database import Connection

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle; ``outcome`` and ``ended_at`` are None while it is open. ``withdrawn``: what it made
    is no part of what is live any more."""

    id: int
    incumbent: str
    candidate: str | None
    outcome: str | None
    reason: str | None
    verdict: str | None
    taught: int | None
    started_at: datetime
    ended_at: datetime | None
    withdrawn: bool


class Cycles(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, newest first; ``next`` is where the next one begins, None at the end."""

    model: str
    cycles: tuple[Row, ...]
    next: str | None


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A reaction that a cycle read, and what for: ``train``, or ``held_back`` to judge by."""

    seq: int
    id: str
    answer: str
    signal: str
    value: float | None
    text: str | None
    received_at: datetime
    use: str


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """One cycle: the path through what it made, its report (`cycle.report.read_report`), and a page
    of the reactions that it read, newest first."""

    model: str
    id: int
    path: tuple[Station, ...]
    started_at: datetime
    ended_at: datetime | None
    report: dict[str, Any]
    feedback: tuple[Read, ...]
    next: str | None


LIST = """
select id, incumbent, candidate, outcome, reason, verdict ->> 'outcome',
    (learning ->> 'taught')::bigint, started_at, ended_at, withdrawn_at is not null
from turns where alias = %s and (%s::bigint is null or id < %s) order by id desc limit %s
"""
READ = """
select f.seq, f.id, f.generation, f.signal, f.value, f.text, f.received_at, c.split
from claimed c join reactions f
    on f.day = c.day and f.generation = c.generation and f.seq = c.feedback
where c.cycle = %s and (%s::bigint is null or f.seq < %s) order by f.seq desc limit %s
"""


async def read_cycles(conn: Connection, subject: Subject, asked: Asked) -> Cycles:
    """GET /cycles and GET /cycles.json"""
    before = read_number(asked.get(PARAM))
    cursor = await conn.execute(LIST, (asked.model, before, before, ROWS + 1))
    names = Row.__struct_fields__
    one_more = [Row(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]
    shown, following = cut_page(one_more, ROWS, lambda row: str(row.id))
    return Cycles(model=asked.model, cycles=shown, next=following)


async def read_cycle(conn: Connection, subject: Subject, asked: Asked) -> Cycle:
    """GET /cycles/ID and GET /cycles/ID.json. Raises ApiError 404."""
    number = int(asked.id) if _NUMBER.fullmatch(asked.id) else 0
    cursor = await conn.execute(
        "select alias, started_at, ended_at from turns where id = %s", (number,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise missing(f"There is no cycle {asked.id[:50]!r}.")
    alias, started, ended = row
    report = await read_report(conn, alias, number)
    before = read_number(asked.get(PARAM))
    cursor = await conn.execute(READ, (number, before, before, ROWS + 1))
    names = Read.__struct_fields__
    one_more = [Read(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]
    shown, following = cut_page(one_more, ROWS, lambda row: str(row.seq))
    return Cycle(
        model=alias,
        id=number,
        path=await read_path(conn, alias, report["candidate"] or report["incumbent"]),
        started_at=started,
        ended_at=ended,
        report=report,
        feedback=shown,
        next=following,
    )
