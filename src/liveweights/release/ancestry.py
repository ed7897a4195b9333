"""What a checkpoint has learnt from, and under which aliases it may answer."""

from __future__ import annotations

from liveweights.release.alias import Alias, AnotherBase, AnotherTenant
from liveweights.store.database import Connection


async def owner_of(conn: Connection, checkpoint: str) -> str | None:
    """The tenant from whose feedback alone a checkpoint has learnt; None: it is everybody's."""
    cursor = await conn.execute("select tenant from ancestry where id = %s", (checkpoint,))
    row = await cursor.fetchone()
    return row[0] if row else None


async def root_of(conn: Connection, checkpoint: str) -> str | None:
    """The base that a checkpoint builds on in the end; None where it is not registered."""
    cursor = await conn.execute("select root from ancestry where id = %s", (checkpoint,))
    row = await cursor.fetchone()
    return row[0] if row else None


async def require_fits(conn: Connection, alias: Alias, checkpoint: str) -> None:
    """Raise AnotherBase where a checkpoint cannot answer under the alias, and AnotherTenant where
    it may not."""
    await require_own(conn, alias, checkpoint)
    await require_same_base(conn, alias, checkpoint)


async def require_own(conn: Connection, alias: Alias, checkpoint: str) -> None:
    """Raise AnotherTenant where a checkpoint may not answer under the alias."""
    owner = await owner_of(conn, checkpoint)
    if owner is not None and owner != alias.tenant:
        raise AnotherTenant(
            f"{checkpoint} has learnt from what {owner!r} said alone, and {alias.name!r} is not"
            " its own branch: nobody else is answered by it"
        )


async def require_same_base(conn: Connection, alias: Alias, checkpoint: str) -> None:
    """Raise AnotherBase where a checkpoint does not build on what the alias stands on."""
    wanted, has = await root_of(conn, checkpoint), await root_of(conn, alias.live)
    if wanted is not None and wanted != has:
        raise AnotherBase(
            f"{checkpoint} builds on {wanted}, and {alias.name!r} stands on {has};"
            f" `liveweights switch {alias.name} BASE` is how an alias gets another base"
        )
