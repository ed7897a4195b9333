"""What goes with a day that leaves Postgres, and what is kept of one that is dropped for good."""

from __future__ import annotations

from datetime import date

from liveweights.store.database import Connection

# As `forget.hash_of`. Whoever chatted in the same session or episode is told by name there.
KEEP_READERS = r"""
insert into dropped_reads (user_hash, cycle)
select distinct
    sha256(convert_to(g.tenant, 'UTF8') || '\x00'::bytea || convert_to(u.user_id, 'UTF8')), r.cycle
from cycle_rows r join generations g on g.day = r.day and g.id = r.generation
cross join lateral (
    select g.user_id
    union
    select n.user_id from generations n
    where n.day = g.day and n.tenant = g.tenant and n.session = g.session
        and n.endpoint = 'chat' and g.endpoint = 'chat'
    union
    select n.user_id from generations n
    where n.day = g.day and n.tenant = g.tenant and n.metadata ->> 'episode' is not null
        and n.metadata ->> 'episode' = g.metadata ->> 'episode'
        and n.endpoint = 'chat' and g.endpoint = 'chat' and g.user_id is null
) u
where r.day = %s and g.day = %s and u.user_id is not null
on conflict do nothing
"""


async def keep_readers(conn: Connection, day: date) -> dict[int, int]:
    """Note which cycles have read rows of whom, before the rows are dropped for good: users can be
    forgotten later, and weights have learnt from them. Returns what `count_read` said then.

    In the caller's transaction, before whoever writes has to wait: it takes long where cycles have
    read much. Twice is as once.
    """
    read = await count_read(conn, day)
    await conn.execute(KEEP_READERS, (day, day))
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
