"""A user's right to be forgotten."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

from liveweights.record import rollups
from liveweights.record.clean import clip_person
from liveweights.record.holds import hold_alone
from liveweights.store.columnstore import has_columnstore, lift_limit
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed now, and every checkpoint that rows of the user ever influenced."""

    generations: int
    feedback: int
    checkpoints: list[str]


FIND = "select id from generations where tenant = %s and user_id = %s order by day, id"

LOCK: LiteralString = f"{FIND} for update"

CYCLES = "select distinct cycle from cycle_rows where generation = any(%s) order by cycle"

# A candidate is influenced by what its cycle read: by the training part through its weights, by
# the part held back through the verdict. Whatever was learnt from it or is built on it inherits.
INFLUENCED = """
with recursive influenced as (
    select c.candidate as id from cycles c
    where c.candidate is not null and c.id = any(
        select unnest(f.cycles) from forgotten f where f.user_hash = %s
    )
    union
    select k.id from checkpoints k join influenced i on i.id in (k.parent, k.base)
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
    histogram_bin(1000 * extract(epoch from received_at - generated_at)::float8), -count(*)
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


async def forget(conn: Connection, tenant: str, user: str) -> Forgotten:
    """Remove all generations of the user with their feedback, what is in quarantine of them, and
    conversations that were stored, in one transaction.

    They are no longer counted either. Weights cannot be made to forget: the checkpoints that are
    named should be retired. The cycles that had read the rows are kept in the table ``forgotten``
    with a hash of the user, so asking again names the checkpoints again, and those that came
    since.
    """
    user = clip_person(user)  # as it was recorded
    digest = hash_of(tenant, user)
    async with conn.transaction():
        # Locked, so that feedback on its way either is removed too or finds no generation.
        columnstore = await has_columnstore(conn)
        if columnstore:
            await lift_limit(conn)
            await hold_alone(conn)
        cursor = await conn.execute(FIND if columnstore else LOCK, (tenant, user))
        ids = [id for (id,) in await cursor.fetchall()]
        which = {"days": sorted({day_of(id) for id in ids}), "ids": ids}
        await _uncount(conn, which)
        cursor = await conn.execute(CYCLES, (ids,))
        cycles = [cycle for (cycle,) in await cursor.fetchall()]
        await conn.execute("delete from cycle_rows where generation = any(%s)", (ids,))
        cursor = await conn.execute(DELETE_FEEDBACK, which)
        feedback = cursor.rowcount
        await conn.execute("delete from shadow_answers where generation = any(%s)", (ids,))
        await conn.execute("delete from replays where generation = any(%s)", (ids,))
        await conn.execute(DELETE_GENERATIONS, which)
        await conn.execute(DELETE_QUARANTINED, {**which, "tenant": tenant, "user": user})
        await conn.execute(
            "delete from responses where tenant = %s and user_id = %s", (tenant, user)
        )
        if ids:
            await conn.execute(
                "insert into forgotten (user_hash, generations, feedback, cycles) "
                "values (%s, %s, %s, %s)",
                (digest, len(ids), feedback, cycles),
            )
        cursor = await conn.execute(INFLUENCED, (digest,))
        checkpoints = [id for (id,) in await cursor.fetchall()]
        await rollups.add_staged(conn)
    return Forgotten(len(ids), feedback, checkpoints)


def hash_of(tenant: str, user: str) -> bytes:
    """What is kept of a user who is forgotten."""
    return hashlib.sha256(f"{tenant}\0{clip_person(user)}".encode()).digest()


async def read_forgotten(conn: Connection) -> set[bytes]:
    """The hashes of all who were forgotten."""
    cursor = await conn.execute("select distinct user_hash from forgotten")
    return {bytes(digest) for (digest,) in await cursor.fetchall()}


async def _uncount(conn: Connection, which: dict[str, list[date] | list[str]]) -> None:
    """Stage, for the rollups, all that these generations have added to them."""
    await conn.execute(rollups.STAGE)
    await conn.execute(UNCOUNT, which)
    await conn.execute(UNCOUNT_DELAYS, which)
    await conn.execute(UNCOUNT_OUTCOMES, {**which, "sign": -1})
