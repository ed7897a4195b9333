"""Moves of an alias to another checkpoint: on, back, and to another base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liveweights.release.alias import Alias, AliasError
from liveweights.release.alias_rows import end_other_canary, note, point, pointing, select, withdraw
from liveweights.release.ancestry import require_fits, require_own, require_same_base, root_of
from liveweights.release.canaries import abort_canary
from liveweights.release.history import last_on, rollback_targets
from liveweights.store.database import Connection


async def promote(
    conn: Connection,
    name: str,
    checkpoint: str,
    *,
    cycle: int | None = None,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Alias:
    """Make ``checkpoint`` live and end any canary; promoting what is live changes nothing.

    A canary on another base takes its alias there: what is live on the former one is nothing that
    a rollback returns to; ``switch`` does. Raises AnotherBase for any other checkpoint.
    """
    async with pointing(conn, checkpoint):
        alias = await select(conn, name, lock=True, version=version)
        if alias.live == checkpoint:
            return alias
        await require_own(conn, alias, checkpoint)
        if alias.canary != checkpoint:
            await require_same_base(conn, alias, checkpoint)
        stays = await root_of(conn, checkpoint) == await root_of(conn, alias.live)
        await end_other_canary(conn, alias, checkpoint, f"{checkpoint} was promoted")
        await note(
            conn,
            name,
            "promote" if stays else "switch",
            checkpoint,
            previous=alias.live,
            cycle=cycle,
            reason=reason,
            evidence=evidence,
        )
        await withdraw(conn, name, checkpoint)
        return await point(conn, name, checkpoint)


async def rollback(
    conn: Connection,
    name: str,
    to: str | None = None,
    *,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Alias:
    """Make ``to`` live again, or what was live before, and end any canary.

    What was rolled back from is never what a further rollback returns to. Cycles that made what
    is not part of ``to`` are withdrawn: the feedback that they read is unread again. Raises
    AliasError when there is nothing to return to.
    """
    async with pointing(conn, to):
        alias = await select(conn, name, lock=True, version=version)
        target = to or next(iter(await rollback_targets(conn, name, lock=True)), None)
        if target is None:
            raise AliasError(f"{name!r} has had no checkpoint before {alias.live}; say which one")
        if target == alias.live:
            return await abort_canary(conn, name, reason=reason, evidence=evidence)
        await require_fits(conn, alias, target)
        await end_other_canary(conn, alias, target, f"rolled back to {target}")
        await note(
            conn, name, "rollback", target, previous=alias.live, reason=reason, evidence=evidence
        )
        await withdraw(conn, name, target)
        return await point(conn, name, target)


async def switch(conn: Connection, name: str, base: str, *, reason: str) -> Alias:
    """Let the alias stand on another base; the same again changes nothing.

    What it had on that base last is live again, else the base itself. What is live on the former
    base is nothing that a rollback returns to, and what was learnt there is left out of account
    until the alias is switched back.
    """
    async with pointing(conn, base):
        alias = await select(conn, name, lock=True)
        if await root_of(conn, alias.live) == base:
            return alias
        target = await last_on(conn, name, base) or base
        await end_other_canary(conn, alias, target, f"switched to {base}")
        await note(conn, name, "switch", target, previous=alias.live, reason=reason)
        await withdraw(conn, name, target)
        return await point(conn, name, target)
