"""Questions about the record that do not change it."""

from __future__ import annotations

from liveweights.record.columns import FEEDBACK, GENERATION, feedback_from, generation_from
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
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
