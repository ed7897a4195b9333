"""A user's right to be forgotten."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

from liveweights.record import rollups
from liveweights.record.binary import Row, bucket_start, created_at, owner_of
from liveweights.record.clean import clip_person
from liveweights.record.holds import hold_alone
from liveweights.record.response import response_of
from liveweights.record.threads import read_threads
from liveweights.store.columnstore import has_columnstore, lift_limit
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed now, and every checkpoint that rows of the user ever influenced."""

    generations: int
    feedback: int
    checkpoints: list[str]


FIND = """
select id from generations
where tenant = %(tenant)s and (
    user_id = %(user)s
    or user_id is null and endpoint = 'chat' and session = any(%(sessions)s)
    or user_id is null and endpoint = 'chat' and metadata ->> 'episode' is not null
        and metadata ->> 'episode' = any(%(episodes)s)
    or user_id is null and day = any(%(days)s) and id = any(%(answers)s)
)
order by day, id
"""

LOCK: LiteralString = f"{FIND} for update"

# Those that learnt from what the user said next as well.
CYCLES = """
select cycle from cycle_rows where generation = any(%(ids)s)
union
select r.cycle from generations g join cycle_rows r on r.day = g.day and r.generation = g.id
where g.tenant = %(tenant)s and g.session = any(%(sessions)s) and g.endpoint = 'chat'
union
select cycle from dropped_reads where user_hash = %(digest)s
order by cycle
"""

# What the user said next is told of the answers before it, whoever had asked for these.
DELETE_HEARD = """
delete from follow_ups h using generations g
where g.tenant = %(tenant)s and g.session = any(%(sessions)s) and g.endpoint = 'chat'
  and h.day = g.day and h.generation = g.id
"""

# Before answers and rollups are taken: in the order of those who write.
DELETE_SEEN = "delete from last_seen where tenant = %(tenant)s and user_id = %(user)s"

DELETE_RESPONSES = """
delete from responses where tenant = %(tenant)s and id = any(%(responses)s)
"""

# A conversation goes as a whole: its answers say what was said before.
DELETE_CONVERSATIONS = """
delete from conversations where tenant = %(tenant)s and id = any(%(episodes)s)
"""

NOT_FORGOTTEN: LiteralString = (
    "not exists (select from forgotten where user_hash = %s and at >= %s)"
)
"""For what one user asked; the parameters are `forgotten_key` and when that was."""

LATE = "select exists (select from forgotten where at >= %s)"
"""Whether there is work for `remove_late`; the parameter is `oldest` of the rows."""

WRITTEN: tuple[LiteralString, ...] = (
    *("generations", "shadow_answers", "conversation_items", "responses"),
)
"""What is recorded of a user, in the order in which whoever writes takes these tables."""

WRITERS = """
select distinct virtualtransaction from pg_locks
where locktype = 'relation' and mode = 'RowExclusiveLock' and relation = any(%s::regclass[])
    and database = (select oid from pg_database where datname = current_database())
"""
PAUSES = (0.01, 0.5)
"""The shortest and longest seconds between two looks at who still writes."""

# A candidate is influenced by what its cycle read: by the training part through its weights, by
# the part held back through the verdict. Whatever was learnt from it or is built on it inherits.
INFLUENCED = """
with recursive influenced as (
    select c.candidate as id from turns c
    where c.candidate is not null and c.id = any(
        select unnest(f.cycles) from forgotten f where f.user_hash = %s
    )
    union
    select d.id from descent d join influenced i on i.id = d.parent
)
select id from influenced order by id
"""


UNCOUNT = """
with keyed as materialized (
    select date_bin('5 minutes', created_at, 'epoch') as at, series.id as series,
        finish_reason = 'cancelled' as cancelled, finish_reason = 'error' as failed,
        output = '' and finish_reason not in ('cancelled', 'error') as silent,
        prompt_tokens(g) as prompt_tokens, output_tokens(g) as output_tokens,
        cost_nanos, first_token_ms, total_ms
    from generations g join series using (alias, checkpoint, tenant, surface)
    where g.day = any(%(days)s) and g.id = any(%(ids)s)
), counted as (
    insert into staged_rollups (at, series, generations, silent, cancelled, failed,
        prompt_tokens, output_tokens, cost_nanos)
    select at, series, -count(*),
        -count(*) filter (where silent), -count(*) filter (where cancelled),
        -count(*) filter (where failed),
        -sum(prompt_tokens), -sum(output_tokens), -sum(cost_nanos)
    from keyed group by at, series
)
insert into staged_histograms (at, series, measure, bin, count)
select at, series, 'first_token'::measure, histogram_bin(first_token_ms), -count(*)
from keyed group by at, series, histogram_bin(first_token_ms)
union all
select at, series, 'total'::measure, histogram_bin(total_ms), -count(*)
from keyed group by at, series, histogram_bin(total_ms)
"""

UNCOUNT_DELAYS = """
insert into staged_histograms (at, series, measure, bin, count)
select date_bin('5 minutes', generated_at, 'epoch'), series, 'delay',
    histogram_bin(
        1000 * extract(epoch from received_at - coalesce(completed_at, generated_at))::float8
    ), -count(*)
from feedback
where day = any(%(days)s) and generation = any(%(ids)s) and series is not null
group by 1, 2, 4
"""

UNCOUNT_OUTCOMES: LiteralString = rollups.stage_outcomes("%(ids)s")

DELETE_FEEDBACK = """
with gone as (
    delete from feedback where day = any(%(days)s) and generation = any(%(ids)s)
    returning tenant, id
), keys as (
    delete from feedback_keys k using gone where k.tenant = gone.tenant and k.id = gone.id
)
select from gone
"""

# What Postgres refused of the user: answers, and feedback for those or for others of theirs.
DELETE_QUARANTINED = """
with theirs as (
    select generation from quarantine where tenant = %(tenant)s and user_id = %(user)s
    union all select unnest(%(ids)s::text[])
)
delete from quarantine where tenant = %(tenant)s and generation in (select generation from theirs)
"""

DELETE_GENERATIONS = """
delete from generations where day = any(%(days)s) and id = any(%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class Traces:
    """Where else a user's rows were: in cycles that had read them, and in partitions, whose files
    hold removed rows for a while."""

    cycles: tuple[int, ...]
    days: tuple[date, ...]


Also = Callable[[Connection, Traces], Awaitable[None]]


async def forget(
    conn: Connection, tenant: str, user: str, *, also: Also | None = None
) -> Forgotten:
    """Remove all generations of the user with their feedback, what is in quarantine of them, and
    conversations that were stored, in one transaction, in which ``also`` is awaited too. Requests
    of the user's chats, conversations and responses that named no user are the user's.

    They are no longer counted either, and what was asked before and is recorded later is dropped.
    Weights cannot be made to forget: the checkpoints that are named should be retired. The cycles
    that had read the rows are kept in the table ``forgotten`` with a hash of the user, so asking
    again names the checkpoints again, and those that came since.

    ``conn`` is outside any transaction.
    """
    user = clip_person(user)  # as it was recorded
    digest = hash_of(tenant, user)
    entry = await _announce(conn, digest)
    async with conn.transaction():
        # Locked, so that feedback on its way either is removed too or finds no generation.
        columnstore = await has_columnstore(conn)
        if columnstore:
            await lift_limit(conn)
            await hold_alone(conn)
        who: dict[str, Any] = {"tenant": tenant, "user": user}
        await conn.execute(DELETE_SEEN, who)
        # All in one order: two that forget at once do not wait for each other.
        await conn.execute(f"lock table only {', '.join(WRITTEN)} in row exclusive mode")
        threads = await read_threads(conn, tenant, user)
        who |= {"sessions": [*threads.sessions], "episodes": [*threads.episodes]}
        answers = threads.answers
        which = {"answers": answers, "days": sorted({day_of(id) for id in answers})}
        cursor = await conn.execute(FIND if columnstore else LOCK, who | which)
        ids = [id for (id,) in await cursor.fetchall()]
        cursor = await conn.execute(CYCLES, {**who, "ids": ids, "digest": digest})
        cycles = [cycle for (cycle,) in await cursor.fetchall()]
        await conn.execute("delete from dropped_reads where user_hash = %s", (digest,))
        await conn.execute(DELETE_HEARD, who)
        feedback = await _remove(conn, ids)
        await conn.execute(DELETE_QUARANTINED, {**who, "ids": [*ids, *answers]})
        await conn.execute(DELETE_CONVERSATIONS, who)  # before responses, as what expires
        responses = threads.responses.union(map(response_of, ids))
        await conn.execute(DELETE_RESPONSES, {**who, "responses": [*responses]})
        days = sorted({day_of(id) for id in ids})
        if also is not None:
            await also(conn, Traces(tuple(cycles), tuple(days)))
        await conn.execute(
            "update forgotten set generations = %s, feedback = %s, cycles = %s, days = %s"
            " where id = %s",
            (len(ids), feedback, cycles, days, entry),
        )
        cursor = await conn.execute(INFLUENCED, (digest,))
        checkpoints = [id for (id,) in await cursor.fetchall()]
        await rollups.add_staged(conn)  # at the very end: all who record wait for these rows
    return Forgotten(len(ids), feedback, checkpoints)


async def remove_late(conn: Connection, rows: Sequence[Row]) -> None:
    """Of rows that were written in the caller's transaction, remove those of users who have been
    forgotten since they asked."""
    cursor = await conn.execute(
        "select user_hash, max(at) from forgotten where at >= %s group by 1", (oldest(rows),)
    )
    forgotten = {bytes(digest): at for digest, at in await cursor.fetchall()}
    late: list[str] = []
    for row in rows:
        owner = owner_of(row)
        at = None if owner is None else forgotten.get(hash_of(*owner))
        if at is not None and created_at(row) <= at:
            late.append(row.id)
    if late:
        # What this transaction has staged before is counted already.
        await conn.execute("delete from staged_rollups")
        await conn.execute("delete from staged_histograms")
        await _remove(conn, late)
        await rollups.add_staged(conn)


async def _announce(conn: Connection, digest: bytes) -> int:
    """From now on nothing older of the user is recorded; the number of the entry. Returns when
    what was being written before is there: without a lock, behind which all writers would queue
    for as long as one of them takes."""
    async with conn.transaction():
        cursor = await conn.execute(
            "insert into forgotten (user_hash, generations, feedback, cycles)"
            " values (%s, 0, 0, '{}') returning id",
            (digest,),
        )
        row = await cursor.fetchone()
        assert row is not None
    pause, longest = PAUSES
    writing = await _read_writers(conn)
    while writing:
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)
        writing &= await _read_writers(conn)
    return row[0]


async def _read_writers(conn: Connection) -> set[str]:
    """The transactions that write, or wait to write, what is recorded of users."""
    async with conn.transaction():
        cursor = await conn.execute(WRITERS, ([*WRITTEN, "quarantine"],))
        return {transaction for (transaction,) in await cursor.fetchall()}


async def _remove(conn: Connection, ids: Sequence[str]) -> int:
    """Generations with all that refers to them; how many rows of feedback there were. What they
    have added to the rollups is staged."""
    which = {"days": sorted({day_of(id) for id in ids}), "ids": list(ids)}
    await _uncount(conn, which)
    await conn.execute("delete from cycle_rows where generation = any(%s)", (which["ids"],))
    cursor = await conn.execute(DELETE_FEEDBACK, which)
    feedback = cursor.rowcount
    await conn.execute("delete from shadow_answers where generation = any(%s)", (which["ids"],))
    await conn.execute(
        "delete from follow_ups where day = any(%(days)s) and generation = any(%(ids)s)", which
    )
    await conn.execute("select forget_drafts(%s)", (which["ids"],))
    await conn.execute(DELETE_GENERATIONS, which)
    return feedback


def forgotten_key(tenant: str, user: str | None) -> bytes | None:
    return None if user is None else hash_of(tenant, user)


def oldest(rows: Sequence[Row]) -> datetime:
    """No row was asked for before."""
    return min(bucket_start(row.group) for row in rows)


def hash_of(tenant: str, user: str) -> bytes:
    """What is kept of a user who is forgotten."""
    return hashlib.sha256(f"{tenant}\0{clip_person(user)}".encode()).digest()


async def read_forgotten(conn: Connection) -> set[bytes]:
    """The hashes of all who were forgotten."""
    cursor = await conn.execute("select distinct user_hash from forgotten")
    return {bytes(digest) for (digest,) in await cursor.fetchall()}


async def _uncount(conn: Connection, which: Mapping[str, list[date] | list[str]]) -> None:
    """Stage, for the rollups, all that these generations have added to them."""
    await conn.execute(rollups.STAGE)
    await conn.execute(UNCOUNT, which)
    await conn.execute(UNCOUNT_DELAYS, which)
    await conn.execute(UNCOUNT_OUTCOMES, {**which, "sign": -1})
