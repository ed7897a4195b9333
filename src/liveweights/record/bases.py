"""Which rows are of another base: their tokens mean nothing to this one."""

from __future__ import annotations

from liveweights.store.database import Connection


async def read_foreign(conn: Connection, checkpoint: str) -> list[str]:
    """Ids of the registered checkpoints that do not build on the same base as ``checkpoint``."""
    cursor = await conn.execute(
        "select o.id from ancestry o join ancestry c on c.root <> o.root where c.id = %s",
        (checkpoint,),
    )
    return [id for (id,) in await cursor.fetchall()]
