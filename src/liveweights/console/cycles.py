"""Pages of cycles: all of a model, and one with what it read, learnt, and was judged by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from liveweights.access.audit import Event
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.forms import Done, Form, Sent
from liveweights.console.path import Station, read_path
from liveweights.console.plots import (
    Change,
    Interval,
    draw_changes,
    draw_counts,
    draw_intervals,
)
from liveweights.console.subject import Asked, Subject, missing
from liveweights.cycle import ledger
from liveweights.cycle.next_turn import begin_now
from liveweights.cycle.pauses import Pause, pause, read_pause, resume
from liveweights.cycle.report import read_report
from liveweights.http.errors import ApiError, bad_request
from liveweights.release.alias import AliasError, UnknownAlias
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
    """A page of a list, newest first; ``next`` is where the next one begins, None at the end.
    A model that ``learns`` can begin one, unless it is ``paused``."""

    model: str
    cycles: tuple[Row, ...]
    next: str | None
    learns: bool = False
    paused: Pause | None = None


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

    @property
    def plots(self) -> Plots:
        """Of the report."""
        return plot_report(self.report)


@dataclass(frozen=True, slots=True)
class Plots:
    """As SVG; None where there is nothing to draw."""

    read: Markup | None
    left_out: Markup | None
    moved: Markup | None
    judged: Markup | None


MEASURED = {"reward": "reward of what both answer", "likelihood": "likelihood of users' texts"}
"""What a verdict has intervals of, and what that is called."""


def plot_report(report: Mapping[str, Any]) -> Plots:
    """What it read by signal, what it left out and why, what moved most, and the gate's differences
    with their intervals."""
    learning: Mapping[str, Any] = report.get("learning") or {}
    evidence: Mapping[str, Any] = (report.get("verdict") or {}).get("evidence") or {}
    moved = [
        Change(
            f"{number}. {'an answer' if one['text'] == 'answer' else 'what a user wrote'}",
            one["before"],
            one["after"],
        )
        for number, one in enumerate(learning.get("moved") or (), 1)
    ]
    judged = [
        Interval(told, found["mean"], found.get("low"), found.get("high"))
        for name, told in MEASURED.items()
        if (found := evidence.get(name)) is not None
    ]
    for finding in evidence.get("suites") or ():
        found = finding["difference"]
        judged.append(
            Interval(f"score on {finding['suite']}", found["mean"], found["low"], found["high"])
        )
    return Plots(
        read=_draw_counts(learning.get("signals"), "Reactions that were read, by signal"),
        left_out=_draw_counts(learning.get("masks"), "What was left out, by the reason"),
        moved=draw_changes(moved, "Log-probability before and after") if moved else None,
        judged=draw_intervals(judged, "Candidate less incumbent") if judged else None,
    )


def _draw_counts(counts: Mapping[str, int] | None, label: str) -> Markup | None:
    rows = sorted(((name.replace("_", " "), count) for name, count in (counts or {}).items()))
    return draw_counts(rows, label) if rows else None


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
    return Cycles(
        model=asked.model,
        cycles=shown,
        next=following,
        learns=asked.model in subject.workers,
        paused=await read_pause(conn, asked.model),
    )


async def steer(conn: Connection, subject: Subject, sent: Sent) -> Done:
    """``begin`` a cycle now, ``cancel`` the open one for a reason, ``pause`` learning for one, or
    ``resume`` it. Raises ApiError: 400, 404 for no such model, 409 where it cannot be done."""
    name = subject.find(sent.get("model"))
    worker = subject.workers.get(name)
    if worker is None:
        raise ApiError(409, f"{name!r} is hosted: it has no cycles.", code="not_done")
    do, reason = sent.get("do"), sent.text("reason").strip()
    if do in ("cancel", "pause") and not reason:
        raise bad_request(f"To {do} needs a reason, which is kept.", "reason")
    try:
        match do:
            case "begin":
                cycle, began = await begin_now(conn, worker)
                event = Event("begin cycle", name, {"cycle": cycle.id}) if began else None
                return Done(event=event, place=f"/cycles/{cycle.id}")
            case "cancel":
                cycle = await ledger.cancel(conn, name, reason)
                event = Event("cancel cycle", name, {"cycle": cycle.id})
                return Done(event=event, place=f"/cycles/{cycle.id}")
            case "pause":
                await pause(conn, name, reason, actor=sent.person.name)
                event = Event("pause learning", name)
            case "resume":
                await resume(conn, name)
                event = Event("resume learning", name)
            case other:
                message = f"'do' is {(other or '')[:50]!r}: begin, cancel, pause or resume."
                raise bad_request(message, "do")
    except (AliasError, UnknownAlias) as error:
        raise ApiError(409, f"{error}", code="not_done") from None
    place = f"/cycles?{urlencode({'model': name})}"
    return Done(event=event, place=place)


STEER = Form(path="/cycles", fields=("model", "do", "reason"), do=steer)


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
