"""Questions about the record that do not change it."""

from __future__ import annotations

from datetime import datetime

from liveweights.record.columns import FEEDBACK, GENERATION, feedback_from, generation_from
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.readable import READABLE, TENANT, Readable
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


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


async def totals(conn: Connection) -> tuple[int, int]:
    """How many generations and rows of feedback there have been, from the rollups."""
    cursor = await conn.execute(
        "select coalesce(sum(generations), 0)::bigint, coalesce(sum(feedback), 0)::bigint"
        " from rollups where whole and width = 1440"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def first_answered(conn: Connection, readable: Readable) -> datetime | None:
    """When the oldest answer of the model, in a branch to its tenant, was given that is kept."""
    cursor = await conn.execute(
        f"select min(g.created_at) from generations g where g.alias = %(model)s and {TENANT}",
        readable.parameters(),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def find_reacting(conn: Connection, model: str, least: int) -> list[str]:
    """The tenants who reacted to at least so many answers of the model, whatever became of these,
    from the rollups: more cannot have said what may be learnt from."""
    cursor = await conn.execute(
        "select tenant from counted where not whole and width = 1440 and alias = %s"
        " group by tenant having sum(reacted) >= %s order by tenant",
        (model, least),
    )
    return [tenant for (tenant,) in await cursor.fetchall()]


async def count_judged(conn: Connection, readable: Readable, moment: datetime, *, most: int) -> int:
    """Answers that may be read to which somebody has reacted since ``moment``; from ``most`` on
    they are not counted further."""
    query = (
        "select f.generation from feedback_keys k"
        " join feedback f on f.day = k.day and f.generation = k.generation and f.seq = k.seq"
        " join generations g on g.day = f.day and g.id = f.generation"
        " where k.received_at > %(moment)s and f.signal <> 'shown'"
        f" and {READABLE}"
    )
    found: set[str] = set()
    # Not by `distinct` and `limit`: that may read all before it says anything.
    async with conn.transaction(), conn.cursor("judged") as cursor:
        await cursor.execute(query, {**readable.parameters(), "moment": moment})
        async for (id,) in cursor:
            found.add(id)
            if len(found) >= most:
                break
    return len(found)
