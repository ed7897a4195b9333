"""Tenants that learn for themselves: when one begins to, and what is left once it is gone."""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import replace
from datetime import UTC, datetime

from liveweights.cycle import ledger
from liveweights.record.read import count_judged, find_reacting
from liveweights.record.readable import read_readable
from liveweights.release import aliases, branches
from liveweights.release.alias import Alias, AliasError, UnknownAlias
from liveweights.store.database import Connection
from liveweights.weights.registry import mark_owned_pruned

log = logging.getLogger(__name__)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def found_branches(
    conn: Connection, model: str, least: int, *, without: Container[str] = ()
) -> list[Alias]:
    """Make a branch of ``model`` for every tenant that has none and reacted to ``least`` answers
    that may be learnt from, but for those ``without``; the branches that were made. Where an alias
    of that name is something else, that is said."""
    try:
        shared = await aliases.read(conn, model)
    except UnknownAlias:
        return []  # no instance has begun to serve it
    there = {branch.tenant for branch in await branches.read_branches(conn, model)}
    readable = await read_readable(conn, model)
    made: list[Alias] = []
    for tenant in await find_reacting(conn, model, least):
        if not tenant or tenant in there or tenant in without:
            continue
        own = replace(readable, tenant=tenant)
        if await count_judged(conn, own, EPOCH, most=least) < least:
            continue
        try:
            made.append(await branches.create_branch(conn, shared.name, tenant))
        except AliasError as error:
            log.error("%s does not get its own: %s", tenant, error)
    return made


async def forget_tenant(conn: Connection, tenant: str) -> list[str]:
    """Take back all that has learnt from a tenant alone; the ids, whose files may go now
    (``retention.remove_pruned``).

    What its branches had open ends, and its requests are answered as all others' are. The shared
    checkpoints stay: what they learnt from the tenant's users is for ``forget_user``. Doing it
    again changes nothing.
    """
    reason = f"the adapters of {tenant} were forgotten"
    async with conn.transaction():
        for branch in await branches.retire(conn, tenant, reason):
            open_ = await ledger.current(conn, branch.name)
            if open_ is not None:
                await ledger.cancel(conn, branch.name, reason)
        return await mark_owned_pruned(conn, tenant)
