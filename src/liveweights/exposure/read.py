"""Traffic, figures and what was learnt, out of the service's database."""

from __future__ import annotations

from datetime import datetime, timedelta

from liveweights.exposure.duties import Figures
from liveweights.exposure.facts import Learnt, Traffic
from liveweights.meter.money import NANOS
from liveweights.store.database import Connection

TRAFFIC = """
select alias, tenant, (bucket at time zone 'UTC')::date, sum(generations)::bigint,
    sum(prompt_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_nanos)::bigint,
    sum(accepted)::bigint, sum(rejected)::bigint
from counted
where width = 1440 and not whole and bucket >= %(since)s and bucket < %(until)s
group by 1, 2, 3 order by 3, 1, 2
"""
REVENUE = """
select coalesce(sum(cost_nanos) filter (where bucket >= %(month)s), 0)::bigint,
    coalesce(sum(cost_nanos), 0)::bigint
from counted where width = 1440 and whole and bucket >= %(year)s and bucket < %(until)s
"""
# Answers whose ids tell no day are all under the first one.
USERS = """
select count(*) from (
    select distinct tenant, user_id from recorded
    where (day >= (%(month)s at time zone 'UTC')::date - 1 or day = '1970-01-01')
        and created_at >= %(month)s and created_at < %(until)s and user_id is not null
) named
"""
LEARNT = """
select alias,
    count(*) filter (where outcome = 'promoted' and withdrawn_at is null),
    coalesce(sum((verdict #>> '{evidence,reward,mean}')::float8)
        filter (where outcome = 'promoted' and withdrawn_at is null), 0),
    count(*), sum(extract(epoch from ended_at - started_at))::float8
from turns
where ended_at is not null and outcome <> 'restarted'
group by alias order by alias
"""
REACTIONS = """
select a.alias, count(*) from reactions r join answers a on a.day = r.day and a.id = r.generation
where a.consent and r.signal <> 'shown' group by a.alias
"""
MONTH, YEAR = timedelta(days=30), timedelta(days=365)


async def read_traffic(conn: Connection, since: datetime, until: datetime) -> tuple[Traffic, ...]:
    """By alias, tenant and day; whole days (UTC), of which ``since`` begins one."""
    rows = await (await conn.execute(TRAFFIC, {"since": since, "until": until})).fetchall()
    return tuple(
        Traffic(
            alias=alias,
            tenant=tenant,
            day=day,
            answers=answers,
            prompt_tokens=prompt,
            output_tokens=output,
            revenue=revenue,
            accepted=accepted,
            rejected=rejected,
        )
        for alias, tenant, day, answers, prompt, output, revenue, accepted, rejected in rows
    )


async def read_figures(conn: Connection, until: datetime) -> Figures:
    """Users and revenue before ``until``."""
    span = {"month": until - MONTH, "year": until - YEAR, "until": until}
    users = await (await conn.execute(USERS, span)).fetchone()
    revenue = await (await conn.execute(REVENUE, span)).fetchone()
    assert users is not None
    assert revenue is not None
    return Figures(
        users_month=users[0], revenue_month=revenue[0] / NANOS, revenue_year=revenue[1] / NANOS
    )


async def read_learnt(conn: Connection) -> tuple[Learnt, ...]:
    """What each alias has learnt so far, and what that took."""
    rows = await (await conn.execute(LEARNT)).fetchall()
    return tuple(
        Learnt(alias=alias, promoted=promoted, gain=gain, cycles=cycles, seconds=seconds)
        for alias, promoted, gain, cycles, seconds in rows
    )


async def count_reactions(conn: Connection) -> dict[str, int]:
    """Reactions that may be learnt from and are in Postgres, by alias. Reads all of them."""
    rows = await (await conn.execute(REACTIONS)).fetchall()
    return dict(rows)
