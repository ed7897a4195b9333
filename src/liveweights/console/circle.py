"""Where the circle of a model stands, why, and what asks for somebody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from liveweights.console.subject import Subject
from liveweights.cycle import ledger
from liveweights.cycle.attempt import Attempt
from liveweights.cycle.next_turn import read_next
from liveweights.cycle.pauses import Pause, read_pause
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.states import News, State, due_in
from liveweights.cycle.status import progress_of
from liveweights.release import aliases, branches
from liveweights.release.alias import Alias, UnknownAlias
from liveweights.release.deployments import ready
from liveweights.store.database import Connection

STEPS: Mapping[State, str] = {
    "claiming": "choosing the answers and reactions to learn from",
    "learning": "learning from them",
    "calibrating": "finding out when the candidate should say nothing",
    "warming": "loading the candidate",
    "gating": "comparing it with what is live on answers it has not seen",
    "canary": "answering a share of the sessions",
}
"""The states of an open cycle, in order, and what is done in each."""
FEWEST, MOST_FAILED = 20, 0.05
"""Requests of an hour, and the share of them that may fail, before that is an alarm."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The open cycle: what it does, and how many rows of how many are done where that is known."""

    id: int
    state: State
    why: str
    candidate: str | None
    done: int | None = None
    total: int | None = None


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """When the next cycle begins if nothing more is said (None: it waits), and why then; what it
    ``differs`` in from the settings, empty for nothing. ``judged`` answers have new reactions;
    ``needed`` of them begin a cycle before its time."""

    at: datetime | None
    why: str
    differs: str
    judged: int
    needed: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The last cycle that ended."""

    id: int
    outcome: str
    reason: str | None
    at: datetime


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for in some time, to five minutes."""

    answers: int
    failed: int
    cancelled: int
    feedback: int


class Circle(msgspec.Struct, frozen=True, kw_only=True):
    """All that changes while somebody looks. A hosted model has traffic and no circle."""

    model: str
    learns: bool
    live: str | None
    canary: str | None
    share: float
    by_answer: bool
    shadow: float
    held: bool
    turn: Turn | None
    next: Next | None
    ended: Ended | None
    paused: Pause | None
    hour: Traffic
    day: Traffic
    alarms: tuple[str, ...]
    tenants: tuple[branches.Own, ...] = ()
    """What each has of its own."""


def foresee(news: News, attempt: Attempt, settings: CycleSettings, now: datetime) -> Next:
    """What the next cycle waits for; its time to the minute, so that it stays the same."""
    wait = due_in(
        news, settings, pause=attempt.pause, wanted=attempt.wanted, follow_ups=attempt.follow_ups
    )
    if wait is None:
        wanted = max(1, min(attempt.wanted, settings.min_feedback))
        what = "new reactions or next messages" if attempt.follow_ups else "new reactions"
        at, why = None, f"it waits for {what}, to {wanted} at least"
    elif wait <= 0:
        at, why = None, "it is about to begin"
    else:
        at = (now + timedelta(seconds=wait + 30)).replace(second=0, microsecond=0)
        why = "its time comes"
        if news.judged >= settings.min_feedback:
            why = "there are reactions enough, and the last one has just ended"
    return Next(
        at=at,
        why=why,
        differs=attempt.why,
        judged=news.judged,
        needed=settings.min_feedback,
    )


def find_alarms(
    hour: Traffic, ended: Ended | None, raised: Sequence[str], failed: Mapping[str, str]
) -> tuple[str, ...]:
    """Sentences about what somebody should look at. ``raised`` are the last update's own alarms,
    ``failed`` is why an instance cannot answer with what is live."""
    alarms = [f"{where} cannot answer with what is live: {why}" for where, why in failed.items()]
    if hour.answers >= FEWEST and hour.failed > MOST_FAILED * hour.answers:
        alarms.append(f"{hour.failed} of {hour.answers} requests of the last hour failed")
    if ended is not None and ended.outcome in ("failed", "rolled_back"):
        outcome = ended.outcome.replace("_", " ")
        alarms.append(f"cycle {ended.id} {outcome}: {ended.reason or 'no reason is known'}")
    return (*alarms, *raised)


TRAFFIC = """
select span, sum(generations)::bigint, sum(failed)::bigint, sum(cancelled)::bigint,
    sum(feedback)::bigint
from counted, (values ('hour', interval '1 hour'), ('day', interval '1 day')) spans (span, width_of)
where whole and width = 5 and alias = %s and bucket >= now() - width_of
    and right(checkpoint, 7) <> '@import'
group by span
"""
LAST = """
select id, outcome, reason, ended_at, learning -> 'alarms' from turns
where alias = %s and outcome is not null order by id desc limit 1
"""
REASON = "select reason from swaps where alias = %s and checkpoint = %s order by id desc limit 1"


async def read_circle(
    conn: Connection, subject: Subject, model: str, *, foreseen: Next | None = None
) -> Circle:
    """What is so now; ``foreseen`` is what the next cycle waits for, where that is known from a
    moment ago: to find it out costs more than all else together."""
    spans = await _traffic(conn, model)
    worker = subject.workers.get(model)
    alias = await _alias(conn, model) if worker else None
    turn: Turn | None = None
    coming = None
    ended: Ended | None = None
    raised: Sequence[str] = ()
    failed: Mapping[str, str] = {}
    paused: Pause | None = None
    if worker is not None and alias is not None:
        failed = (await ready(conn, alias.live)).failed
        ended, raised = await _last(conn, model)
        paused = await read_pause(conn, model)
        cycle = await ledger.current(conn, model)
        if cycle is not None:
            turn = await _turn(conn, cycle, subject.home)
        elif (coming := foreseen) is None:
            news, attempt = await read_next(conn, worker)
            coming = foresee(news, attempt, worker.cycle, datetime.now(UTC))
    return Circle(
        model=model,
        learns=alias is not None,
        live=alias.live if alias else None,
        canary=alias.canary if alias else None,
        share=round(alias.share, 4) if alias else 0.0,
        by_answer=alias is not None and alias.by_answer,
        shadow=round(alias.shadow, 4) if alias else 0.0,
        held=alias is not None and alias.held,
        turn=turn,
        next=coming,
        ended=ended,
        paused=paused,
        hour=spans["hour"],
        day=spans["day"],
        alarms=find_alarms(spans["hour"], ended, raised, failed),
        tenants=tuple(await branches.read_own(conn, model)),
    )


async def _alias(conn: Connection, model: str) -> Alias | None:
    """None before the first start has made it."""
    try:
        return await aliases.read(conn, model)
    except UnknownAlias:
        return None


async def _traffic(conn: Connection, model: str) -> dict[Literal["hour", "day"], Traffic]:
    nothing = Traffic(answers=0, failed=0, cancelled=0, feedback=0)
    cursor = await conn.execute(TRAFFIC, (model,))
    names = Traffic.__struct_fields__
    rows = {span: Traffic(**dict(zip(names, row, strict=True))) async for span, *row in cursor}
    return {"hour": rows.get("hour", nothing), "day": rows.get("day", nothing)}


async def _last(conn: Connection, model: str) -> tuple[Ended | None, Sequence[str]]:
    """The last cycle that ended, and what its update raised."""
    row = await (await conn.execute(LAST, (model,))).fetchone()
    if row is None:
        return None, ()
    return Ended(id=row[0], outcome=row[1], reason=row[2], at=row[3]), row[4] or ()


async def _turn(conn: Connection, cycle: ledger.Cycle, home: Path) -> Turn:
    why = STEPS.get(cycle.state, cycle.state)
    progress: dict[str, Any] = progress_of(cycle, home) or {}
    if cycle.state == "canary":
        row = await (await conn.execute(REASON, (cycle.alias, cycle.candidate))).fetchone()
        why = f"{why}: {row[0]}" if row else why
    return Turn(
        id=cycle.id,
        state=cycle.state,
        why=why,
        candidate=cycle.candidate,
        done=progress.get("done"),
        total=progress.get("total"),
    )
