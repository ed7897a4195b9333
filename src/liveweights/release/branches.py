"""Branches: what tenants have of their own of a model."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.release.alias import COLUMNS, Alias, AliasError, name_branch
from liveweights.release.alias_rows import note, pointing, select
from liveweights.release.aliases import read
from liveweights.release.ancestry import owner_of, root_of
from liveweights.release.moves import promote, rollback, switch
from liveweights.store.database import Connection


async def read_branches(conn: Connection, model: str | None = None) -> list[Alias]:
    """Every tenant's branch, or all of one model, by name."""
    cursor = await conn.execute(
        f"select {COLUMNS} from aliases where tenant is not null"
        " and (%(model)s::text is null or model = %(model)s) order by name".encode(),
        {"model": model},
    )
    return [Alias(*row) for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a tenant has of its own of a model: ``live`` is None where the shared checkpoint
    answers."""

    tenant: str
    alias: str
    live: str | None
    canary: str | None
    share: float


async def read_own(conn: Connection, model: str) -> list[Own]:
    """What every tenant that has a branch of the model has, by tenant."""
    return [
        Own(
            tenant=branch.tenant or "",
            alias=branch.name,
            live=branch.live if await owner_of(conn, branch.live) else None,
            canary=branch.canary,
            share=round(branch.share, 4),
        )
        for branch in await read_branches(conn, model)
    ]


async def create_branch(conn: Connection, model: str, tenant: str) -> Alias:
    """Make a tenant's own branch of a model if it is not there: it begins with what all have.

    Raises UnknownAlias where the model has none, and AliasError where the name is another's.
    """
    name, shared = name_branch(model, tenant), await read(conn, model)
    async with pointing(conn, shared.live):
        cursor = await conn.execute(
            "insert into aliases (name, live, model, tenant) values (%s, %s, %s, %s)"
            " on conflict (name) do nothing returning name",
            (name, shared.live, model, tenant),
        )
        if await cursor.fetchone():
            reason = f"{tenant} gets its own adapter of {model}"
            await note(conn, name, "create", shared.live, previous=None, reason=reason)
        branch = await select(conn, name, lock=False)
    if (branch.model, branch.tenant) != (model, tenant):
        raise AliasError(
            f"{name!r} is a name of its own already, so that it cannot be the branch of {model!r}"
            f" for {tenant!r}: call that model otherwise"
        )
    return branch


async def follow_shared(conn: Connection, name: str) -> None:
    """Let a branch stand where its model does, unless something of its own is live on the model's
    base; of any other alias nothing is changed."""
    async with conn.transaction():
        alias = await select(conn, name, lock=True)
        if alias.tenant is None:
            return
        shared = await read(conn, alias.model)
        root = await root_of(conn, shared.live)
        if root is not None and root != await root_of(conn, alias.live):
            reason = f"{alias.model} stands on another base"
            alias = await switch(conn, name, root, reason=reason)
        if await owner_of(conn, alias.live) is None and alias.live != shared.live:
            reason = f"what {alias.model} has now: nothing of its own is live"
            await promote(conn, name, shared.live, reason=reason)


async def retire(conn: Connection, tenant: str, reason: str) -> list[Alias]:
    """Let every branch of a tenant end with what all have; the branches that there were.

    Their cycles are withdrawn, so that what they read is unread again.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            f"select {COLUMNS} from aliases where tenant = %s order by name".encode(), (tenant,)
        )
        branches = [Alias(*row) for row in await cursor.fetchall()]
        for branch in branches:
            shared = await read(conn, branch.model)
            root = await root_of(conn, shared.live)
            if root is not None and root != await root_of(conn, branch.live):
                await switch(conn, branch.name, root, reason=reason)
            await rollback(conn, branch.name, shared.live, reason=reason)
    return branches
