"""What goes with a day that leaves Postgres, and what is kept of one that is dropped for good."""

from __future__ import annotations

from datetime import date
from typing import LiteralString

from liveweights.store.database import Connection

# The answers that cycles have read, and what they may go on from, themselves first. Tables, as
# the planner has to know how many there are.
FIND_READ: tuple[LiteralString, ...] = (
    r"""
create temporary table read_answers on commit drop as
select g.id, g.tenant, g.user_id, array_agg(distinct r.cycle) as cycles,
    case when g.endpoint = 'chat' then g.session end as session,
    case when g.endpoint = 'chat' and g.user_id is null
        then nullif(g.metadata ->> 'episode', '') end as episode
from cycle_rows r join generations g on g.day = r.day and g.id = r.generation
where r.day = %(day)s and g.day = %(day)s
group by g.day, g.id, g.tenant, g.user_id, g.endpoint, g.session, g.metadata ->> 'episode'
""",
    "create index on read_answers (id)",
    "create index on read_answers (session)",
    "create index on read_answers (episode)",
    "analyze read_answers",
    r"""
create temporary table read_responses on commit drop as
with recursive begun as (
    select id, tenant, 'resp_' || substr(id, 5) as response from read_answers
    where user_id is null and id like 'gen\_%%'
    union select id, tenant, episode from read_answers where episode like 'resp\_%%'
    union
    select a.id, a.tenant, r.id from read_answers a
    join responses r on r.tenant = a.tenant and r.body ->> 'episode' = a.episode
    union
    select a.id, a.tenant, r.id from read_answers a
    join responses r on r.tenant = a.tenant and r.body -> 'metadata' ->> 'episode' = a.episode
    union
    select b.id, b.tenant, r.previous
    from begun b join responses r on r.id = b.response and r.tenant = b.tenant
    where r.user_id is null and r.previous is not null
)
select id, tenant, response, 'gen_' || substr(response, 6) as generation from begun
""",
    "create index on read_responses (generation)",
    "analyze read_responses",
)

# Whoever `forget` would take an answer for, by what `threads.READ` ties to a user, seen from the
# answer, on whatever day the name is told; and who chatted in its session, which says what was
# said next. Lists are compared first: an index is used of each day, or a column read once.
KEEP_READERS = r"""
with named as (
    select id, user_id from read_answers
    union
    select a.id, n.user_id
    from read_answers a join generations n on n.tenant = a.tenant and n.session = a.session
    where n.endpoint = 'chat' and n.session is not null
        and n.tenant = any(array(select distinct tenant from read_answers))
        and n.session = any(array(select distinct session from read_answers))
    union
    select a.id, n.user_id
    from read_answers a
    join generations n on n.tenant = a.tenant and n.metadata ->> 'episode' = a.episode
    where n.endpoint = 'chat' and n.metadata ->> 'episode' is not null
        and n.tenant = any(array(select distinct tenant from read_answers))
        and n.metadata ->> 'episode' = any(array(select distinct episode from read_answers))
    union
    select b.id, n.user_id
    from read_responses b join generations n on n.tenant = b.tenant and n.id = b.generation
    where n.endpoint = 'chat'
        and n.day = any(array(select distinct generation_day(generation) from read_responses))
        and n.id = any(array(select distinct generation from read_responses))
    union
    select b.id, r.user_id
    from read_responses b join responses r on r.id = b.response and r.tenant = b.tenant
    union
    select a.id, i.user_id from read_answers a
    join conversations c on c.id = a.episode and c.tenant = a.tenant
    join conversation_items i on i.conversation = c.id
)
insert into dropped_reads (user_hash, cycle)
select distinct
    -- As `forget.hash_of`.
    sha256(convert_to(a.tenant, 'UTF8') || '\x00'::bytea || convert_to(n.user_id, 'UTF8')), cycle
from named n join read_answers a using (id) cross join unnest(a.cycles) cycle
where n.user_id is not null
on conflict do nothing
"""


async def keep_readers(conn: Connection, day: date) -> dict[int, int]:
    """Note which cycles have read rows of whom, before the rows are dropped for good: users can be
    forgotten later, and weights have learnt from them. Returns what `count_read` said then.

    In a transaction of its own, before whoever writes has to wait: it takes long where cycles have
    read much. Twice is as once.
    """
    read = await count_read(conn, day)
    for statement in FIND_READ:
        await conn.execute(statement, {"day": day})
    await conn.execute(KEEP_READERS)
    return read


async def count_read(conn: Connection, day: date) -> dict[int, int]:
    """How many of the day's rows each cycle has read."""
    cursor = await conn.execute(
        "select cycle, count(*) from cycle_rows where day = %s group by cycle", (day,)
    )
    return dict(await cursor.fetchall())


async def drop_copies(conn: Connection, day: date) -> None:
    """Remove what was answered to the day's requests besides: in the shadow, and for gates; in the
    caller's transaction. Nobody asks for it without the rows, and nobody would find it."""
    await conn.execute("delete from shadow_answers where generation_day(generation) = %s", (day,))
    await conn.execute("select forget_drafts_of(%s)", (day,))
