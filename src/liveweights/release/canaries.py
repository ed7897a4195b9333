"""Canaries: a checkpoint that answers a share of what is asked of an alias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liveweights.release.alias import Alias, AliasError
from liveweights.release.alias_rows import note, point, pointing, select
from liveweights.release.ancestry import require_own, require_same_base
from liveweights.store.database import Connection


async def start_canary(
    conn: Connection,
    name: str,
    checkpoint: str,
    share: float,
    *,
    shadow: float = 0.0,
    by_answer: bool = False,
    cycle: int | None = None,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    version: int | None = None,
    across: bool = False,
) -> Alias:
    """Send ``share`` of the sessions, or of the answers where it begins ``by_answer``, to
    ``checkpoint``, and ``shadow`` of the others' requests too; ``across``: it may be on another
    base.

    A canary that runs takes a step; the same again changes nothing. Raises AliasError when it is
    live already or another canary runs, and AnotherBase.
    """
    async with pointing(conn, checkpoint):
        alias = await select(conn, name, lock=True, version=version)
        await require_own(conn, alias, checkpoint)
        if not across and alias.canary != checkpoint:
            await require_same_base(conn, alias, checkpoint)
        same = abs(alias.share - share) < 1e-6 and abs(alias.shadow - shadow) < 1e-6
        if alias.canary == checkpoint and same:
            return alias
        if alias.live == checkpoint:
            raise AliasError(f"{checkpoint} is live on {name!r} already; a canary must differ")
        if alias.canary not in (None, checkpoint):
            raise AliasError(
                f"{name!r} has the canary {alias.canary}; promote or abort it before {checkpoint}"
            )
        action = "canary" if alias.canary is None else "step"
        alias = await point(
            conn,
            name,
            alias.live,
            canary=checkpoint,
            share=share,
            shadow=shadow,
            held=alias.held,
            by_answer=by_answer if alias.canary is None else alias.by_answer,
        )
        await note(
            conn,
            name,
            action,
            checkpoint,
            previous=alias.live,
            cycle=cycle,
            reason=reason,
            evidence=evidence,
            share=share,
        )
        return alias


async def hold_canary(
    conn: Connection, name: str, held: bool, *, cycle: int | None = None, reason: str
) -> Alias:
    """Stop a canary from going on by itself, or let it; harm still ends it.

    Doing it again changes nothing. Raises AliasError where there is no canary.
    """
    async with conn.transaction():
        alias = await select(conn, name, lock=True)
        if alias.canary is None:
            raise AliasError(f"{name!r} has no canary")
        if alias.held == held:
            return alias
        action = "hold" if held else "resume"
        await note(
            conn, name, action, alias.canary, previous=alias.live, cycle=cycle, reason=reason
        )
        return await point(
            conn,
            name,
            alias.live,
            canary=alias.canary,
            share=alias.share,
            shadow=alias.shadow,
            held=held,
            by_answer=alias.by_answer,
        )


async def abort_canary(
    conn: Connection,
    name: str,
    *,
    cycle: int | None = None,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    checkpoint: str | None = None,
    version: int | None = None,
) -> Alias:
    """Send everyone to the live checkpoint; without a canary nothing changes.

    With ``checkpoint`` only that canary is ended, so that a repeat cannot hit its successor.
    """
    async with pointing(conn, checkpoint):
        alias = await select(conn, name, lock=True, version=version)
        if alias.canary is None or checkpoint not in (None, alias.canary):
            return alias
        await note(
            conn,
            name,
            "abort",
            alias.canary,
            previous=alias.live,
            cycle=cycle,
            reason=reason,
            evidence=evidence,
        )
        return await point(conn, name, alias.live)
