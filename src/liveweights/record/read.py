"""Questions about the record that do not change it."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.record.bases import read_foreign
from liveweights.record.columns import FEEDBACK, GENERATION, feedback_from, generation_from
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


@dataclass(frozen=True, slots=True)
class Status:
    """How much there is. ``unread`` is per alias, see the function ``unread``."""

    generations: int
    feedback: int
    unread: dict[str, int]


async def generation(conn: Connection, id: str) -> Generation | None:
    """The generation with that id."""
    query = f"select {', '.join(GENERATION)} from generations where day = %s and id = %s"
    cursor = await conn.execute(query.encode(), (day_of(id), id))
    row = await cursor.fetchone()
    return None if row is None else generation_from(row)


async def feedback(conn: Connection, generation: str) -> list[Feedback]:
    """All feedback for the generation, in order of arrival."""
    query = f"select {', '.join(FEEDBACK)} from feedback where day = %s and generation = %s "
    cursor = await conn.execute(f"{query} order by seq".encode(), (day_of(generation), generation))
    return [feedback_from(row) async for row in cursor]


# Everything that a consumed cycle left unread has arrived after all that it read, because a
# claim takes what has waited longest. So only newer rows need a look, not the whole record.
UNREAD = """
with last as (
    select coalesce(max(r.feedback), 0) as seq from cycle_rows r
    where r.cycle = (
        select max(c.id) from cycles c
        where c.alias = %(alias)s and (
            c.outcome is null or c.outcome = 'promoted' and c.withdrawn_at is null)
          and exists (select from cycle_rows x where x.cycle = c.id and x.feedback is not null)
    )
)
select count(*) from feedback_keys f
join generations g on g.day = f.day and g.id = f.generation
where f.seq > (select seq from last) and g.alias = %(alias)s and g.consent
  and g.checkpoint <> all(%(foreign)s::text[])
  and not exists (
      select from cycle_rows r join cycles c on c.id = r.cycle
      where r.feedback = f.seq and (
            c.outcome is null or c.outcome = 'promoted' and c.withdrawn_at is null)
  )
"""


async def unread(conn: Connection, alias: str) -> int:
    """Rows of feedback that a new cycle of ``alias`` would be the first to read.

    Its cost grows with the feedback since the last open or promoted cycle, not with the record.
    Exact as long as cycles end in the order in which they began; when a claim was cut at its
    ``max_rows``, or feedback was on its way during a claim, a few rows may be missing.
    """
    cursor = await conn.execute("select live from aliases where name = %s", (alias,))
    live = await cursor.fetchone()
    foreign = await read_foreign(conn, live[0]) if live else []
    cursor = await conn.execute(UNREAD, {"alias": alias, "foreign": foreign})
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def totals(conn: Connection) -> tuple[int, int]:
    """How many generations and rows of feedback there have been, from the rollups."""
    cursor = await conn.execute(
        "select coalesce(sum(generations), 0)::bigint, coalesce(sum(feedback), 0)::bigint"
        " from rollups where whole and width = 1440"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def status(conn: Connection) -> Status:
    """Counts of all that was recorded, also of days whose raw rows were dropped."""
    generations, feedback = await totals(conn)
    cursor = await conn.execute("select name from aliases order by name")
    aliases = [name for (name,) in await cursor.fetchall()]
    return Status(generations, feedback, {name: await unread(conn, name) for name in aliases})
