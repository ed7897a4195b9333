"""Whose answers mean nothing to a checkpoint: those of another base, and of others' adapters."""

from __future__ import annotations

from liveweights.store.database import Connection


async def read_foreign(conn: Connection, checkpoint: str, tenant: str | None = None) -> list[str]:
    """Ids of the registered checkpoints that do not build on the same base as ``checkpoint``, and
    of those that are the own of a tenant, but for ``tenant``'s."""
    cursor = await conn.execute(
        "select o.id from ancestry o join ancestry c on c.id = %(id)s where c.root <> o.root"
        " or o.tenant is not null and o.tenant is distinct from %(tenant)s::text",
        {"id": checkpoint, "tenant": tenant},
    )
    return [id for (id,) in await cursor.fetchall()]


async def read_owned(conn: Connection, tenant: str | None) -> list[str]:
    """Ids of the registered checkpoints that are the own of a tenant, but for ``tenant``'s."""
    cursor = await conn.execute(
        "select id from ancestry where tenant is not null and tenant is distinct from %s::text",
        (tenant,),
    )
    return [id for (id,) in await cursor.fetchall()]
