"""Which base an alias stands on, settled when a service starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from liveweights.release import aliases, ancestry, moves
from liveweights.release.alias import Alias, AliasError, AnotherBase, UnknownAlias
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
        alias, moves_on, unserved = await _look(conn, name, base, model=model, switch=switch)
        if alias and unserved:
            await _remove(conn, alias)
            alias = None
        await register(conn, base, card)
        if alias is None:
            return (await aliases.create(conn, name, base.id)).live
        if moves_on:
            if also is not None:
                await also(conn)
            return (await moves.switch(conn, name, base.id, reason=f"started with {model}")).live
        return alias.live


async def check_stand(
    conn: Connection, name: str, base: Checkpoint, *, model: str, switch: bool = False
) -> None:
    """Raise what ``stand`` would, and change nothing."""
    await _look(conn, name, base, model=model, switch=switch)


async def _look(
    conn: Connection, name: str, base: Checkpoint, *, model: str, switch: bool
) -> tuple[Alias | None, bool, bool]:
    """The alias, whether it stands on another base, and whether it does that without ever having
    had an answer to give. Raises what ``stand`` does."""
    alias = await _find(conn, name)
    if alias is None:
        return None, False, False
    if alias.tenant is not None:
        raise AliasError(
            f"{name!r} is what {alias.tenant!r} has of its own of {alias.model!r}: call the"
            " model otherwise"
        )
    root = await ancestry.root_of(conn, alias.live)
    if root == base.id:
        return alias, False, False
    if await _is_unserved(conn, name):
        return alias, True, True
    if not switch:
        raise AnotherBase(_two_ways(name, str(root), base, model))
    await _require_unused(conn, name)
    return alias, True, False


async def _find(conn: Connection, name: str) -> Alias | None:
    try:
        return await aliases.read(conn, name)
    except UnknownAlias:
        return None


def _two_ways(name: str, root: str, base: Checkpoint, model: str) -> str:
    return (
        f"The alias {name!r} stands on {root}, not on {base.id}: serve {model} under another name"
        f" (--alias NAME), or let {name!r} go over to it (--switch-alias), without what was learnt"
        f" for it on {root}."
    )


async def _is_unserved(conn: Connection, name: str) -> bool:
    """Whether the alias never had an answer to give."""
    cursor = await conn.execute(
        "select from aliases where name = %(name)s and served_at is null"
        " and not exists (select from turns where alias = %(name)s)"
        " and not exists (select from recorded where alias = %(name)s)",
        {"name": name},
    )
    return await cursor.fetchone() is not None


async def _remove(conn: Connection, alias: Alias) -> None:
    """Forget it, and its base if nothing else needs it."""
    await conn.execute("delete from releases where alias = %s", (alias.name,))
    await conn.execute("delete from aliases where name = %s", (alias.name,))
    try:
        async with conn.transaction():
            await conn.execute("delete from deployments where checkpoint = %s", (alias.live,))
            await unregister(conn, alias.live)
    except psycopg.errors.ForeignKeyViolation:
        pass  # another alias has it


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
