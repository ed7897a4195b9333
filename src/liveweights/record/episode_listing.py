"""Episodes as lists show them."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

import msgspec

from liveweights.record.names import NAMES
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

LIST: LiteralString = f"""
with episodes as (
    select tenant, metadata ->> 'episode' as name, min(created_at) as began,
        max(created_at) as ended, count(*) as steps, sum(output_tokens(g))::bigint as tokens,
        sum(total_ms)::float8 as total_ms,
        (array_agg(id order by created_at desc, id desc))[1] as last,
        md5(tenant || chr(31) || (metadata ->> 'episode')) as key
    from generations g
    where metadata ->> 'episode' is not null and alias in ({NAMES})
        and (%(tenant)s::text is null or tenant = %(tenant)s)
    group by 1, 2
)
select tenant, name, began, ended, steps, tokens, total_ms, last, key from episodes
where %(at)s::timestamptz is null or (ended, key) < (%(at)s, %(key)s)
order by ended desc, key desc limit %(count)s
"""
SAID = """
select distinct on (generation) generation, signal, value from feedback
where day = any(%s) and generation = any(%s) and episode is not null
order by generation, received_at desc, id desc
"""


class ListedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """A task of one tenant, from the first of its answers to the last one so far. ``outcome`` is
    the signal that was said of the whole last, ``value`` its number; None: nothing was said.
    ``key`` stands for tenant and name in the order of the list."""

    tenant: str
    name: str
    began: datetime
    ended: datetime
    steps: int
    tokens: int
    total_ms: float
    last: str
    key: str
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
    ``before`` is end and key of the one that they follow."""
    at, key = before or (None, None)
    cursor = await conn.execute(
        LIST, {"alias": alias, "tenant": tenant, "at": at, "key": key, "count": count}
    )
    names = ListedEpisode.__struct_fields__
    rows = [dict(zip(names, row, strict=False)) for row in await cursor.fetchall()]
    last = [str(row["last"]) for row in rows]
    cursor = await conn.execute(SAID, (sorted({day_of(id) for id in last}), last))
    said = {
        id: {"outcome": signal, "value": value} for id, signal, value in await cursor.fetchall()
    }
    return [ListedEpisode(**row, **said.get(str(row["last"]), {})) for row in rows]
