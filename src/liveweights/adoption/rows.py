"""The table of snapshots, and what the record says of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from liveweights.adoption.own import Made
from liveweights.adoption.snapshots import Snapshot
from liveweights.store.database import Connection

KEEP = """
insert into adoption_snapshots (model, day, downloads, derivatives, source)
values (%s, %s, %s, %s, %s)
on conflict (model, day, source) do update
set downloads = excluded.downloads, derivatives = excluded.derivatives
"""
MADE = """
select coalesce(s.model, t.alias), (t.started_at at time zone 'UTC')::date, a.root,
    count(t.candidate)
from turns t
left join standing s on s.alias = t.alias
left join ancestry a on a.id = t.candidate
where t.candidate is not null and t.started_at >= %(since)s and t.started_at < %(until)s
group by 1, 2, 3 order by 2, 1, 3
"""


async def keep_snapshots(conn: Connection, snapshots: Iterable[Snapshot]) -> int:
    """Store them; what a source said of a day before is replaced. How many there were."""
    rows = [(one.model, one.day, one.downloads, one.derivatives, one.source) for one in snapshots]
    async with conn.cursor() as cursor:
        await cursor.executemany(KEEP, rows)
    return len(rows)


async def read_snapshots(conn: Connection) -> list[Snapshot]:
    """All of them, by model and day."""
    cursor = await conn.execute(
        "select model, day, downloads, derivatives, source from adoption_snapshots"
        " order by model, day, source"
    )
    return [
        Snapshot(model=model, day=day, downloads=downloads, derivatives=derivatives, source=source)
        for model, day, downloads, derivatives, source in await cursor.fetchall()
    ]


async def read_made(conn: Connection, since: datetime, until: datetime) -> tuple[Made, ...]:
    """Checkpoints by alias and base, and the day on which the cycle that made them began."""
    rows = await (await conn.execute(MADE, {"since": since, "until": until})).fetchall()
    return tuple(Made(alias, day, count, base) for alias, day, base, count in rows)
