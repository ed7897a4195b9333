"""Which base an alias stands on, settled when a service starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from liveweights.release import aliases, ancestry, moves
from liveweights.release.alias import AliasError, AnotherBase, UnknownAlias
from liveweights.release.deployments import ALIVE
from liveweights.store.database import Also, Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register, unregister


async def stand(
    conn: Connection,
    name: str,
    base: Checkpoint,
    card: Mapping[str, Any],
    *,
    model: str,
    switch: bool = False,
    also: Also | None = None,
) -> str:
    """Register ``base`` and let the alias ``name`` stand on it; what is live of it then.

    An alias that is not there is made. One that never had an answer to give, because its first
    start failed, is made anew. One that stands on another base is left alone, and nothing is
    registered, unless ``switch`` says so: then ``also`` is awaited in the transaction that lets it
    go over. ``model`` is how the user calls the base. Raises AnotherBase, and AliasError where
    instances serve what would be switched away from.
    """
    async with conn.transaction():
        # One start after the other: each sees what the one before it has settled.
        await conn.execute("lock table aliases in share row exclusive mode")
        try:
            alias = await aliases.read(conn, name)
        except UnknownAlias:
            alias = None
        if alias is not None and alias.tenant is not None:
            raise AliasError(
                f"{name!r} is what {alias.tenant!r} has of its own of {alias.model!r}: call the"
                " model otherwise"
            )
        root = await ancestry.root_of(conn, alias.live) if alias else None
        if alias and root != base.id and await _remove_unserved(conn, name):
            alias = None
        if alias and root != base.id:
            if not switch:
                raise AnotherBase(_two_ways(name, str(root), base, model))
            await _require_unused(conn, name)
        await register(conn, base, card)
        if alias is None:
            return (await aliases.create(conn, name, base.id)).live
        if root != base.id:
            if also is not None:
                await also(conn)
            return (await moves.switch(conn, name, base.id, reason=f"started with {model}")).live
        return alias.live


def _two_ways(name: str, root: str, base: Checkpoint, model: str) -> str:
    return (
        f"The alias {name!r} stands on {root}, not on {base.id}: serve {model} under another name"
        f" (--alias NAME), or let {name!r} go over to it (--switch-alias), without what was learnt"
        f" for it on {root}."
    )


async def _remove_unserved(conn: Connection, name: str) -> bool:
    """Forget an alias that never had an answer to give, and its base if nothing else needs it;
    whether it was one."""
    cursor = await conn.execute(
        "select live from aliases where name = %(name)s and served_at is null"
        " and not exists (select from turns where alias = %(name)s)"
        " and not exists (select from recorded where alias = %(name)s)",
        {"name": name},
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    await conn.execute("delete from releases where alias = %s", (name,))
    await conn.execute("delete from aliases where name = %s", (name,))
    try:
        async with conn.transaction():
            await conn.execute("delete from deployments where checkpoint = %s", (row[0],))
            await unregister(conn, row[0])
    except psycopg.errors.ForeignKeyViolation:
        pass  # another alias has it
    return True


async def _require_unused(conn: Connection, name: str) -> None:
    """Instances that serve the alias on its base would stop answering it."""
    cursor = await conn.execute(
        "select distinct instance from deployments join aliases on live = checkpoint"
        " where name = %s and deployments.state in ('ready', 'loading')"
        " and deployments.updated_at > now() - make_interval(secs => %s) order by instance",
        (name, ALIVE),
    )
    serving = [instance for (instance,) in await cursor.fetchall()]
    if serving:
        raise AliasError(
            f"The alias {name!r} cannot go over to another base while {', '.join(serving)} serves"
            " it: stop that first."
        )
