"""Episodes as lists show them."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

import msgspec

from liveweights.record.names import NAMES
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

# An episode is where its last answer is. Nothing counts how many answers have an episode, so the
# two steps are kept apart: the index gives the newest, and those that are shown are summed up.
LIST: LiteralString = f"""
with names as materialized ({NAMES}), ends as materialized (
    select g.tenant, g.metadata ->> 'episode' as name, g.created_at as ended, g.id as last
    from generations g
    where g.metadata ->> 'episode' is not null and g.alias in (select name from names)
        and (%(tenant)s::text is null or g.tenant = %(tenant)s)
        and (%(at)s::timestamptz is null or (g.created_at, g.id) < (%(at)s, %(id)s))
        and not exists (
            select from generations later
            where later.tenant = g.tenant
                and later.metadata ->> 'episode' = g.metadata ->> 'episode'
                and later.alias in (select name from names)
                and (later.day >= g.day or later.day = '1970-01-01')
                and (later.created_at, later.id) > (g.created_at, g.id)
        )
    order by g.created_at desc, g.id desc limit %(count)s
)
select ends.tenant, ends.name, began, ended, steps, tokens, total_ms, last
from ends, lateral (
    select min(created_at) as began, count(*) as steps, sum(output_tokens(g))::bigint as tokens,
        sum(total_ms)::float8 as total_ms
    from generations g
    where g.tenant = ends.tenant and g.metadata ->> 'episode' = ends.name
        and g.alias in (select name from names)
) summed
order by ended desc, last desc
"""
SAID = """
select distinct on (generation) generation, signal, value from feedback
where day = any(%s) and generation = any(%s) and episode is not null
order by generation, received_at desc, id desc
"""


class ListedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """A task of one tenant, from the first of its answers to the last one so far. ``outcome`` is
    the signal that was said of the whole last, ``value`` its number; None: nothing was said."""

    tenant: str
    name: str
    began: datetime
    ended: datetime
    steps: int
    tokens: int
    total_ms: float
    last: str
    outcome: str | None = None
    value: float | None = None


async def list_episodes(
    conn: Connection,
    alias: str,
    count: int,
    *,
    tenant: str | None = None,
    before: tuple[datetime, str] | None = None,
) -> list[ListedEpisode]:
    """At most ``count`` of those with answers of the model ``alias``, the last active first;
    ``before`` is end and last answer of the one that they follow."""
    at, id_ = before or (None, None)
    cursor = await conn.execute(
        LIST, {"alias": alias, "tenant": tenant, "at": at, "id": id_, "count": count}
    )
    names = ListedEpisode.__struct_fields__
    rows = [dict(zip(names, row, strict=False)) for row in await cursor.fetchall()]
    last = [str(row["last"]) for row in rows]
    cursor = await conn.execute(SAID, (sorted({day_of(id) for id in last}), last))
    said = {
        id: {"outcome": signal, "value": value} for id, signal, value in await cursor.fetchall()
    }
    return [ListedEpisode(**row, **said.get(str(row["last"]), {})) for row in rows]
