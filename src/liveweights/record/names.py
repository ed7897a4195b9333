"""Under which names the answers of a model are recorded: the one that was asked for."""

from __future__ import annotations

from liveweights.store.database import Connection

NAMES = """
    select %(alias)s::text as name
    union all
    select a.id from ancestry a
    where a.root in (
        select r.root from swaps w join ancestry r on r.id = w.checkpoint where w.alias = %(alias)s
    ) and exists (select from series s where s.alias = a.id and s.checkpoint = a.id)
"""
"""Of a model: its public name, and the checkpoints on its bases that were asked for by their id."""
MODEL = """
select w.alias from swaps w join ancestry a on a.id = w.checkpoint
where w.tenant is null and a.root = (select root from ancestry where id = %s)
order by w.at desc limit 1
"""


async def read_model(conn: Connection, name: str) -> str:
    """The public name of the model whose answers were recorded under ``name``."""
    cursor = await conn.execute(MODEL, (name,))
    row = await cursor.fetchone()
    return name if row is None else row[0]
