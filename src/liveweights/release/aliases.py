"""Public model names: which there are, and new ones."""

from __future__ import annotations

from liveweights.release.alias import COLUMNS, Alias
from liveweights.release.alias_rows import note, pointing, select
from liveweights.store.database import Connection


async def read(conn: Connection, name: str) -> Alias:
    """The alias as it stands. Raises UnknownAlias."""
    return await select(conn, name, lock=False)


async def read_all(conn: Connection) -> list[Alias]:
    """Every alias that there is, by name."""
    cursor = await conn.execute(f"select {COLUMNS} from aliases order by name".encode())
    return [Alias(*row) for row in await cursor.fetchall()]


async def create(conn: Connection, name: str, live: str, *, reason: str = "first start") -> Alias:
    """Make the alias if it is not there; one that is there is returned as it stands."""
    async with pointing(conn, live):
        cursor = await conn.execute(
            "insert into aliases (name, live) values (%s, %s)"
            " on conflict do nothing returning name",
            (name, live),
        )
        if await cursor.fetchone():
            await note(conn, name, "create", live, previous=None, reason=reason)
        return await select(conn, name, lock=False)
