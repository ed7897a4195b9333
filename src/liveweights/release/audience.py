"""How many people a checkpoint has answered."""

from __future__ import annotations

import msgspec

from liveweights.store.database import Connection


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Who was answered by a checkpoint through an alias; the nameless count one by one."""

    answers: int
    sessions: int
    users: int


async def count_audience(conn: Connection, alias: str, checkpoint: str) -> Audience:
    """Everyone whom ``checkpoint`` ever answered as ``alias``."""
    cursor = await conn.execute(
        "select count(*), count(distinct (tenant, coalesce(session, user_id, id))),"
        " count(distinct (tenant, coalesce(user_id, session, id)))"
        " from recorded where alias = %(alias)s and checkpoint = %(id)s and created_at >="
        " (select min(at) from releases where alias = %(alias)s and checkpoint = %(id)s)",
        {"alias": alias, "id": checkpoint},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Audience(answers=row[0], sessions=row[1], users=row[2])
