"""Chat answers and what the same session asked next: a reaction that nobody had to send."""

from __future__ import annotations

from datetime import datetime

from liveweights.record.readable import READABLE, Readable
from liveweights.store.database import Connection

# The next request of a session. Whether it goes on with the same conversation is for the reader
# of its tokens to see; tokens of another base are not of the same conversation.
NEXT = """
select n.prompt_ids, n.created_at from generations n
where n.tenant = g.tenant and n.session = g.session and n.alias = g.alias
  and n.endpoint = 'chat' and n.consent and n.created_at > g.created_at
  and (select root from ancestry where id = n.checkpoint) is not distinct from
      (select root from ancestry where id = g.checkpoint)
order by n.created_at limit 1
"""

READ = f"""
select distinct on (g.id) g.id, n.prompt_ids
from cycle_rows r join generations g on g.day = r.day and g.id = r.generation
cross join lateral ({NEXT}) n
where r.cycle = %(cycle)s and g.endpoint = 'chat' and g.session is not null
  and n.created_at <= coalesce(%(until)s::timestamptz, 'infinity')
"""

COUNT = f"""
select count(*) from (
    select from generations g
    where {READABLE} and g.endpoint = 'chat' and g.session is not null
      and g.created_at > %(moment)s
      and exists (
          select from generations e
          where e.tenant = g.tenant and e.session = g.session and e.alias = g.alias
            and e.endpoint = 'chat' and e.consent and e.created_at < g.created_at
            and e.checkpoint <> all(%(foreign)s::text[])
      )
    limit %(most)s
) counted
"""


async def read_follow_ups(
    conn: Connection, cycle: int, until: datetime | None = None
) -> dict[str, list[int]]:
    """For each chat answer that the cycle claimed and whose session went on, up to then: the token
    ids of the next request's prompt."""
    cursor = await conn.execute(READ.encode(), {"cycle": cycle, "until": until})
    return dict(await cursor.fetchall())


async def count_follow_ups(
    conn: Connection, readable: Readable, moment: datetime, *, most: int
) -> int:
    """Requests since ``moment`` that came after another one of their chat session; from ``most``
    on they are not counted further."""
    values = {**readable.parameters(), "moment": moment, "most": most}
    cursor = await conn.execute(COUNT, values)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]
