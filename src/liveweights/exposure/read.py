"""Traffic, figures and what was learnt, out of the service's database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from liveweights.exposure.duties import Figures
from liveweights.exposure.facts import Key, Learnt, Traffic
from liveweights.exposure.revenue import in_units
from liveweights.record.archive_rows import read_archives
from liveweights.store.database import Connection

# Answers with a checkpoint MODEL@import were given elsewhere.
TRAFFIC = """
select n.alias, (n.bucket at time zone 'UTC')::date, a.root,
    sum(n.generations)::bigint, sum(n.prompt_tokens)::bigint, sum(n.output_tokens)::bigint,
    sum(n.accepted)::bigint, sum(n.rejected)::bigint
from counted n left join ancestry a on a.id = n.checkpoint
where n.width = 1440 and n.whole and n.bucket >= %(since)s and n.bucket < %(until)s
    and right(n.checkpoint, 7) <> '@import'
group by 1, 2, 3 order by 2, 1, 3
"""
TENANTS = """
select distinct n.alias, a.root, n.tenant
from counted n left join ancestry a on a.id = n.checkpoint
where n.width = 1440 and not n.whole and n.bucket >= %(since)s and n.bucket < %(until)s
    and right(n.checkpoint, 7) <> '@import'
"""
STANDING = """
select s.alias, a.root from standing s join ancestry a on a.id = s.live where s.tenant is null
"""
REVENUE = """
select c.model, (c.at at time zone 'UTC')::date, a.root, c.currency, sum(c.nanos)::bigint,
    array_agg(distinct c.tenant)
from charges c left join ancestry a on a.id = c.checkpoint
where c.at >= %(since)s and c.at < %(until)s and c.nanos <> 0
group by 1, 2, 3, 4
"""
REVENUE_OF_ALL = """
select currency, coalesce(sum(nanos) filter (where at >= %(month)s), 0)::bigint, sum(nanos)::bigint
from charges where at >= %(year)s and at < %(until)s and nanos <> 0
group by 1
"""
USERS = "select count(*) from active_users where last_day >= (%(month)s at time zone 'UTC')::date"
# Answers whose ids tell no day are all under the first one.
FORMER_USERS = """
select count(*) from (
    select distinct tenant, user_id from recorded
    where (day >= (%(month)s at time zone 'UTC')::date - 1 or day = '1970-01-01')
        and created_at >= %(month)s and created_at < %(until)s and user_id is not null
        and right(checkpoint, 7) <> '@import'
) named
"""
# A branch learns for its model; what is live there is on the base of the model.
LEARNT = """
select coalesce(s.model, t.alias) as model, max(a.root),
    count(*) filter (where t.outcome = 'promoted' and t.withdrawn_at is null),
    coalesce(sum((t.verdict #>> '{evidence,reward,mean}')::float8)
        filter (where t.outcome = 'promoted' and t.withdrawn_at is null), 0),
    count(*), sum(extract(epoch from t.ended_at - t.started_at))::float8
from turns t
left join standing s on s.alias = t.alias
left join standing m on m.alias = coalesce(s.model, t.alias)
left join ancestry a on a.id = m.live
where t.ended_at is not null and t.outcome <> 'restarted'
group by 1 order by 1
"""
REACTIONS = """
select a.alias, count(*) from reactions r join answers a on a.day = r.day and a.id = r.generation
where a.consent and r.signal <> 'shown' group by a.alias
"""
MONTH, YEAR = timedelta(days=30), timedelta(days=365)


async def read_traffic(conn: Connection, since: datetime, until: datetime) -> tuple[Traffic, ...]:
    """By alias, base and day; whole days (UTC), of which ``since`` begins one. Imported
    answers were given elsewhere, and are left out. Revenue is what the ledger has, less what was
    taken back on that day."""
    span = {"since": since, "until": until}
    rows = await (await conn.execute(TRAFFIC, span)).fetchall()
    traffic = {
        (alias, day, base): Traffic(
            alias=alias,
            day=day,
            answers=answers,
            prompt_tokens=prompt,
            output_tokens=output,
            accepted=accepted,
            rejected=rejected,
            base=base,
        )
        for alias, day, base, answers, prompt, output, accepted, rejected in rows
    }
    for *key, currency, nanos, tenants in await (await conn.execute(REVENUE, span)).fetchall():
        alias, day, base = key
        nothing = Traffic(alias=alias, day=day, answers=0, base=base)
        one = traffic.get((alias, day, base), nothing)
        traffic[alias, day, base] = replace(
            one,
            revenue={**one.revenue, currency: nanos},
            charged=one.charged.union(tenants),
        )
    return tuple(traffic.values())


async def read_tenants(conn: Connection, since: datetime, until: datetime) -> dict[Key, set[str]]:
    """Who asked for any of that, by alias and base."""
    tenants: dict[Key, set[str]] = {}
    cursor = await conn.execute(TENANTS, {"since": since, "until": until})
    for alias, base, tenant in await cursor.fetchall():
        tenants.setdefault((alias, base), set()).add(tenant)
    return tenants


async def read_standing(conn: Connection) -> dict[str, str]:
    """The base that each alias of this service's own stands on now."""
    return dict(await (await conn.execute(STANDING)).fetchall())


async def read_figures(conn: Connection, until: datetime) -> Figures:
    """Users and revenue before ``until``. Users of a month that is over are counted on days whose
    rows are in Postgres; of the current one, on days since they are counted as they come."""
    month = until - MONTH
    span = {"month": month, "year": until - YEAR, "until": until}
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    is_over = until <= today
    users = await (await conn.execute(FORMER_USERS if is_over else USERS, span)).fetchone()
    assert users is not None
    away = [
        one
        for one in await read_archives(conn)
        if (one.is_away if is_over else one.uncounted) and month.date() <= one.day < until.date()
    ]
    revenue = await (await conn.execute(REVENUE_OF_ALL, span)).fetchall()
    return Figures(
        users_month=users[0],
        users_days=MONTH.days - len(away),
        revenue_month=in_units({currency: nanos for currency, nanos, _ in revenue}),
        revenue_year=in_units({currency: nanos for currency, _, nanos in revenue}),
    )


async def read_learnt(conn: Connection) -> tuple[Learnt, ...]:
    """What each alias has learnt so far, and what that took."""
    rows = await (await conn.execute(LEARNT)).fetchall()
    return tuple(
        Learnt(alias=alias, base=base, promoted=promoted, gain=gain, cycles=cycles, seconds=seconds)
        for alias, base, promoted, gain, cycles, seconds in rows
    )


async def count_reactions(conn: Connection) -> dict[str, int]:
    """Reactions that may be learnt from and are in Postgres, by alias. Reads all of them."""
    rows = await (await conn.execute(REACTIONS)).fetchall()
    return dict(rows)
