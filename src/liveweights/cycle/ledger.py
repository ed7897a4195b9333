"""Cycles and their lease in Postgres: every function is one transaction's worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from liveweights.cycle.states import News, Outcome, State, check
from liveweights.holder import Holder
from liveweights.learn.baseline import Baseline
from liveweights.record.bases import read_owned
from liveweights.record.followups import count_follow_ups
from liveweights.record.read import count_judged, first_answered
from liveweights.record.readable import Readable, read_readable
from liveweights.release.alias import AliasError, UnknownAlias
from liveweights.release.alias_rows import select
from liveweights.release.aliases import read
from liveweights.release.branches import follow_shared
from liveweights.release.canaries import abort_canary
from liveweights.release.deployments import let_go
from liveweights.store.database import Connection

COLUMNS = (
    "id, alias, state, incumbent, candidate, outcome, reason, learning, verdict, canary,"
    " withdrawn_at is not null, tenant"
)


@dataclass(frozen=True, slots=True)
class Cycle:
    """One turn of the circle. ``learning``, ``verdict`` and ``canary`` are what each step found;
    ``withdrawn`` says that what it released is no part of what is live. ``tenant``: whose rows
    alone it reads; None: those of all."""

    id: int
    alias: str
    state: State
    incumbent: str
    candidate: str | None
    outcome: Outcome | None
    reason: str | None
    learning: dict[str, Any] | None
    verdict: dict[str, Any] | None
    canary: dict[str, Any] | None
    withdrawn: bool = False
    tenant: str | None = None


LEFT = "left"
"""In ``Cycle.learning``: answers that it had no room for, and that no cycle has tried."""


def left_by(cycle: Cycle) -> int:
    """How many answers to learn from the cycle left for later ones."""
    return (cycle.learning or {}).get(LEFT, 0)


class LostLease(RuntimeError):
    """Another worker advances this alias's cycles now."""


class AlreadyOpen(AliasError):
    """An alias has one open cycle: this one."""

    def __init__(self, cycle: Cycle) -> None:
        super().__init__(
            f"cycle {cycle.id} of {cycle.alias!r} is {cycle.state}; another can begin when it has"
            " ended"
        )
        self.cycle = cycle


async def take_lease(
    conn: Connection, name: str, owner: str, seconds: float, *, after: str | None = None
) -> bool:
    """Take or renew the lease; False while another owner holds it, but for the one that it is to
    be taken ``after``."""
    cursor = await conn.execute(
        "insert into leases (name, owner, expires)"
        " values (%(name)s, %(owner)s, now() + make_interval(secs => %(seconds)s))"
        " on conflict (name) do update set owner = excluded.owner, expires = excluded.expires"
        " where leases.owner in (excluded.owner, %(after)s) or leases.expires < now() returning 1",
        {"name": name, "owner": owner, "seconds": seconds, "after": after},
    )
    return await cursor.fetchone() is not None


async def release_lease(conn: Connection, name: str, owner: str) -> None:
    """Let go of it, so that the next one need not wait."""
    await conn.execute("delete from leases where name = %s and owner = %s", (name, owner))


async def read_lease(conn: Connection, name: str) -> tuple[str, datetime] | None:
    """Who holds it and until when; None where nobody does."""
    cursor = await conn.execute(
        "select owner, expires from leases where name = %s and expires > now()", (name,)
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


def lease_of(alias: str) -> str:
    """The name of the lease on an alias's cycles."""
    return f"cycle/{alias}"


def describe_holder(alias: str, holder: Holder) -> str:
    """What to say to a second worker."""
    return (
        f"The cycles of {alias!r} on this database are another worker's ({holder}): stop that"
        " service, or start this one with `liveweights serve`, as one more instance of the API."
    )


async def current(conn: Connection, alias: str) -> Cycle | None:
    """The open cycle of an alias."""
    cursor = await conn.execute(
        f"select {COLUMNS} from cycles where alias = %s and ended_at is null".encode(), (alias,)
    )
    row = await cursor.fetchone()
    return Cycle(*row) if row else None


async def get(conn: Connection, alias: str, cycle: int) -> Cycle:
    """Raises LookupError."""
    cursor = await conn.execute(
        f"select {COLUMNS} from cycles where alias = %s and id = %s".encode(), (alias, cycle)
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError(f"alias {alias!r} has no cycle {cycle}")
    return Cycle(*row)


async def recent(
    conn: Connection, alias: str, count: int = 20, *, before: int | None = None
) -> list[Cycle]:
    """The last cycles, newest first; of those before one, if it is given."""
    cursor = await conn.execute(
        f"select {COLUMNS} from cycles where alias = %(alias)s"
        " and (%(before)s::bigint is null or id < %(before)s)"
        " order by id desc limit %(count)s".encode(),
        {"alias": alias, "before": before, "count": count},
    )
    return [Cycle(*row) for row in await cursor.fetchall()]


async def read_rest(conn: Connection, alias: str) -> float:
    """Seconds since the last cycle ended, those aside that were restarted; without end before the
    first."""
    cursor = await conn.execute(
        "select extract(epoch from now() - max(ended_at))::float8 from cycles"
        " where alias = %s and outcome is distinct from 'restarted'",
        (alias,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return math.inf if row[0] is None else row[0]


async def read_news(
    conn: Connection, alias: str, teacher: str = "", *, most: int, follow_ups: bool
) -> News:
    """What was said since the last cycle began, or left by it for want of room, to answers of the
    base that is live (of any, where the alias has switched), and to those of a ``teacher``, another
    alias, if there is one.

    Before the first cycle: all of it, and the seconds since the first answer. What a rejected
    cycle read is unread again, but alone it is no reason for another one: it would end the same.
    One that was restarted counts as if it had not been.

    From ``most`` on neither is counted further; without ``follow_ups`` those only tell whether
    anything was said where nothing was judged.
    """
    cursor = await conn.execute(
        "select max(started_at), now() from cycles"
        " where alias = %(alias)s and outcome is distinct from 'restarted'",
        {"alias": alias},
    )
    row = await cursor.fetchone()
    assert row is not None
    started, now = row
    own = await read_readable(conn, alias)
    sources = [own, Readable(teacher, own.tenant)] if teacher else [own]
    moment = started
    if moment is None:
        answered = [await first_answered(conn, source) for source in sources]
        moment = min((one for one in answered if one is not None), default=None)
    if moment is None:
        return News(0, 0, 0.0, math.inf)
    # What teaches in words may be of any base.
    if await has_switched(conn, alias):
        sources[0] = replace(own, foreign=await read_owned(conn, own.tenant))
    judged = await _count_left(conn, alias)
    for source in sources:
        if judged < most:
            judged += await count_judged(conn, source, moment, most=most - judged)
    counted = most if follow_ups else 1 if not judged else 0
    return News(
        judged=judged,
        followed=await count_follow_ups(conn, own, moment, most=counted) if counted else 0,
        since_start=(now - moment).total_seconds(),
        since_end=await read_rest(conn, alias),
    )


async def _count_left(conn: Connection, alias: str) -> int:
    """By the last cycle that learnt."""
    cursor = await conn.execute(
        "select (learning ->> %(left)s)::bigint from cycles where alias = %(alias)s"
        " and learning ? %(left)s and outcome is distinct from 'restarted'"
        " order by id desc limit 1",
        {"alias": alias, "left": LEFT},
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


async def has_switched(conn: Connection, alias: str) -> bool:
    """Whether the alias was ever taken to another base with what it had learnt: answers of other
    bases teach it in words from then on."""
    cursor = await conn.execute(
        "select exists (select from cycles where alias = %s and learning ? 'switch'"
        " and outcome = 'promoted')",
        (alias,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def last_held_back(conn: Connection, alias: str) -> int | None:
    """The newest cycle of the alias that holds rows back, of the base that it stands on."""
    cursor = await conn.execute(
        "select max(r.cycle) from claimed r join cycles c on c.id = r.cycle"
        " join ancestry i on i.id = c.incumbent"
        " join standing a on a.alias = c.alias join ancestry l on l.id = a.live"
        " where c.alias = %s and r.split = 'held_back' and i.root = l.root",
        (alias,),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def begin(conn: Connection, alias: str, settings: dict[str, Any]) -> Cycle:
    """Open a cycle against what is live now. Raises UnknownAlias, AlreadyOpen."""
    await follow_shared(conn, alias)
    return await _open(
        conn,
        alias,
        "insert into cycles (alias, tenant, state, incumbent, settings)"
        " select alias, tenant, 'claiming', live, %(settings)s from standing"
        " where alias = %(alias)s",
        {"settings": Jsonb(settings)},
    )


async def _open(conn: Connection, alias: str, insert: str, values: dict[str, Any]) -> Cycle:
    """What ``insert`` came to. Raises UnknownAlias for nothing, and AlreadyOpen, by a unique index:
    two that begin at once both found none open."""
    try:
        async with conn.transaction():
            cursor = await conn.execute(
                f"{insert} returning {COLUMNS}".encode(), {**values, "alias": alias}
            )
            row = await cursor.fetchone()
    except psycopg.errors.UniqueViolation:
        if (there := await current(conn, alias)) is None:
            raise
        raise AlreadyOpen(there) from None
    if row is None:
        raise UnknownAlias(f"there is no alias {alias!r}")
    return Cycle(*row)


async def begin_trial(
    conn: Connection, alias: str, candidate: str, learning: dict[str, Any]
) -> Cycle:
    """Open a cycle that judges a checkpoint that somebody brought; see ``trial``.

    Raises UnknownAlias, AlreadyOpen, and AliasError where the checkpoint is live already.
    """
    try:
        return await _open(
            conn,
            alias,
            "insert into cycles (alias, tenant, state, incumbent, candidate, settings, learning)"
            " select alias, tenant, 'claiming', live, %(candidate)s, '{}', %(learning)s"
            " from standing where alias = %(alias)s and live <> %(candidate)s",
            {"candidate": candidate, "learning": Jsonb(learning)},
        )
    except UnknownAlias:
        if (await read(conn, alias)).live != candidate:
            raise
        raise AliasError(
            f"{candidate} is live on {alias!r} already; a candidate must differ"
        ) from None


async def begin_switch(
    conn: Connection, alias: str, settings: dict[str, Any], learning: dict[str, Any]
) -> Cycle:
    """Open a cycle that takes the alias to another base; see ``switching``. Raises UnknownAlias,
    AlreadyOpen."""
    return await _open(
        conn,
        alias,
        "insert into cycles (alias, state, incumbent, settings, learning)"
        " select alias, 'claiming', live, %(settings)s, %(learning)s from standing"
        " where alias = %(alias)s",
        {"settings": Jsonb(settings), "learning": Jsonb(learning)},
    )


async def switches(conn: Connection, alias: str | None = None) -> list[Cycle]:
    """Cycles that take, or took, an alias to another base, newest first; of every alias without
    one."""
    cursor = await conn.execute(
        f"select {COLUMNS} from cycles where learning ? 'switch'"
        " and (%(alias)s::text is null or alias = %(alias)s) order by id desc".encode(),
        {"alias": alias},
    )
    return [Cycle(*row) for row in await cursor.fetchall()]


async def read_settings(conn: Connection, cycle: int) -> tuple[dict[str, Any], datetime | None]:
    """The ``[learn]`` settings that a cycle began with, and when it ended."""
    cursor = await conn.execute("select settings, ended_at from cycles where id = %s", (cycle,))
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def find_maker(conn: Connection, alias: str, candidate: str) -> Cycle | None:
    """The first cycle of the alias that came to that checkpoint."""
    cursor = await conn.execute(
        f"select {COLUMNS} from cycles where alias = %s and candidate = %s"
        " order by id limit 1".encode(),
        (alias, candidate),
    )
    row = await cursor.fetchone()
    return Cycle(*row) if row else None


async def write_recomputed(
    conn: Connection, cycle: int, incumbent: str, candidate: str, learning: dict[str, Any]
) -> int:
    """Note a cycle that was computed anew, as of when it was; its id. It counts as one that made
    what is live as soon as that is so. Noting it again changes nothing."""
    cursor = await conn.execute(
        "select id from cycles where candidate = %s and (learning ->> 'recomputes')::bigint = %s",
        (candidate, cycle),
    )
    if (row := await cursor.fetchone()) is not None:
        return row[0]
    cursor = await conn.execute(
        "insert into cycles (alias, tenant, state, incumbent, candidate, outcome, reason, settings,"
        " learning, started_at, ended_at, withdrawn_at)"
        " select alias, tenant, 'ended', %(incumbent)s, %(candidate)s, 'promoted', %(reason)s,"
        " settings, %(learning)s, started_at, ended_at, now() from cycles where id = %(id)s"
        " returning id",
        {
            "incumbent": incumbent,
            "candidate": candidate,
            "reason": f"cycle {cycle} without the rows of a user who was forgotten",
            "learning": Jsonb({**learning, "recomputes": cycle}),
            "id": cycle,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def begin_release(conn: Connection, alias: str, candidate: str, reason: str) -> Cycle:
    """Open a cycle for a checkpoint that somebody brought: it begins as a canary, without a gate.

    Raises UnknownAlias, AlreadyOpen.
    """
    return await _open(
        conn,
        alias,
        "insert into cycles (alias, tenant, state, incumbent, candidate, settings, verdict)"
        " select alias, tenant, 'canary', live, %(candidate)s, '{}', %(verdict)s from standing"
        " where alias = %(alias)s",
        {
            "candidate": candidate,
            "verdict": Jsonb({"outcome": "SKIPPED", "reasons": [reason]}),
        },
    )


async def advance(conn: Connection, cycle: Cycle, to: State, **columns: Any) -> Cycle:
    """Move on, and store what the step found. Raises LostLease if it has been moved already."""
    check(cycle.state, to)
    sets = "".join(f", {name} = %({name})s" for name in columns)
    ended = ", ended_at = now()" if to == "ended" else ""
    values = {k: Jsonb(v) if isinstance(v, dict) else v for k, v in columns.items()}
    cursor = await conn.execute(
        f"update cycles set state = %(to)s, updated_at = now(){sets}{ended}"
        f" where id = %(id)s and state = %(state)s returning {COLUMNS}".encode(),
        {**values, "to": to, "id": cycle.id, "state": cycle.state},
    )
    row = await cursor.fetchone()
    if row is None:
        raise LostLease(f"cycle {cycle.id} is no longer {cycle.state}")
    return Cycle(*row)


async def restart(conn: Connection, cycles: Sequence[int], reason: str) -> list[Cycle]:
    """End those of the cycles that are open, in the caller's transaction with their canaries; their
    files are for `clear` to remove."""
    cursor = await conn.execute(
        "select distinct alias from cycles where id = any(%s) and ended_at is null order by 1",
        (list(cycles),),
    )
    for (alias,) in await cursor.fetchall():
        await select(conn, alias, lock=True)  # before the cycle, as who begins a canary does
    cursor = await conn.execute(
        "update cycles set state = 'ended', outcome = 'restarted', reason = %s,"
        " updated_at = now(), ended_at = now()"
        f" where id = any(%s) and ended_at is null returning {COLUMNS}".encode(),
        (reason, list(cycles)),
    )
    ended = [Cycle(*row) for row in await cursor.fetchall()]
    for cycle in ended:
        await _take_back(conn, cycle, reason)
    return ended


async def find_restarted(conn: Connection, cycles: Sequence[int]) -> list[Cycle]:
    """Those of the cycles that `restart` ended."""
    cursor = await conn.execute(
        f"select {COLUMNS} from cycles where id = any(%s) and outcome = 'restarted'"
        " order by id".encode(),
        (list(cycles),),
    )
    return [Cycle(*row) for row in await cursor.fetchall()]


async def _take_back(conn: Connection, cycle: Cycle, reason: str) -> None:
    if cycle.candidate is not None:
        await abort_canary(
            conn, cycle.alias, checkpoint=cycle.candidate, cycle=cycle.id, reason=reason
        )
        await let_go(conn, cycle.candidate)


async def remove_messages(conn: Connection, cycles: Sequence[int]) -> None:
    """Of failed updates: what a program said as it ended may quote what it was working on."""
    await conn.execute(
        "update cycles set reason = 'what it said was removed with the rows of a user'"
        " where id = any(%s) and outcome = 'failed'",
        (list(cycles),),
    )


async def cancel(conn: Connection, alias: str, reason: str) -> Cycle:
    """End the open cycle of the alias, in one transaction with its canary, if it has one; its rows
    are unread again. The worker that is at it breaks off. Raises AliasError where none is open."""
    async with conn.transaction():
        if await current(conn, alias) is not None:
            await select(conn, alias, lock=True)  # before the cycle, as who begins a canary does
        cursor = await conn.execute(
            "update cycles set state = 'ended', outcome = 'cancelled', reason = %s,"
            " updated_at = now(), ended_at = now()"
            f" where alias = %s and ended_at is null returning {COLUMNS}".encode(),
            (reason, alias),
        )
        row = await cursor.fetchone()
        if row is None:
            raise AliasError(f"no cycle of {alias!r} is open: there is nothing to cancel")
        cycle = Cycle(*row)
        await _take_back(conn, cycle, reason)
    return cycle


async def read_baseline(conn: Connection, alias: str) -> Baseline:
    """As the last cycle that is part of what is live left it."""
    cursor = await conn.execute(
        "select segment, weight, total from baselines where cycle ="
        " (select max(b.cycle) from baselines b join cycles c on c.id = b.cycle"
        "  where c.alias = %s and c.outcome = 'promoted' and c.withdrawn_at is null)",
        (alias,),
    )
    rows = await cursor.fetchall()
    return Baseline({s: w for s, w, _ in rows}, {s: t for s, _, t in rows})


async def read_baseline_of(conn: Connection, cycle: int) -> Baseline | None:
    """As that cycle left it; None where it left none."""
    cursor = await conn.execute(
        "select segment, weight, total from baselines where cycle = %s", (cycle,)
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    return Baseline({s: w for s, w, _ in rows}, {s: t for s, _, t in rows})


async def write_baseline(conn: Connection, cycle: int, baseline: Baseline) -> None:
    for segment, weight in baseline.weight.items():
        await conn.execute(
            "insert into baselines (cycle, segment, weight, total) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            (cycle, segment, weight, baseline.total.get(segment, 0.0)),
        )
