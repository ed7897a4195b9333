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


async def keep_readers(conn: Connection, day: date) -> None:
    """Note which cycles have read rows of whom, before the rows are dropped for good, in the
    caller's transaction: users can be forgotten later, and weights have learnt from them."""
    await conn.execute(KEEP_READERS, (day, day))


async def drop_copies(conn: Connection, day: date) -> None:
    """Remove what was answered to the day's requests besides: in the shadow, and for gates; in the
    caller's transaction. Nobody asks for it without the rows, and nobody would find it."""
    await conn.execute("delete from shadow_answers where generation_day(generation) = %s", (day,))
    await conn.execute(
        "select forget_drafts(array(select distinct generation from drafts"
        " where generation_day(generation) = %s))",
        (day,),
    )
