"""Public model names and every change of what they point at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from liveweights.release.alias import (
    CHANNEL,
    COLUMNS,
    Alias,
    AliasError,
    AnotherBase,
    AnotherTenant,
    Change,
    StaleVersion,
    UnknownAlias,
    name_branch,
)
from liveweights.release.history import last_on, rollback_targets
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered


async def read(conn: Connection, name: str) -> Alias:
    """The alias as it stands. Raises UnknownAlias."""
    return await _select(conn, name, lock=False)


async def read_all(conn: Connection) -> list[Alias]:
    """Every alias that there is, by name."""
    cursor = await conn.execute(f"select {COLUMNS} from aliases order by name".encode())
    return [Alias(*row) for row in await cursor.fetchall()]


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


async def create(conn: Connection, name: str, live: str, *, reason: str = "first start") -> Alias:
    """Make the alias if it is not there; one that is there is returned as it stands."""
    async with _transaction(conn, live):
        cursor = await conn.execute(
            "insert into aliases (name, live) values (%s, %s)"
            " on conflict do nothing returning name",
            (name, live),
        )
        if await cursor.fetchone():
            await _note(conn, name, "create", live, previous=None, reason=reason)
        return await _select(conn, name, lock=False)


async def create_branch(conn: Connection, model: str, tenant: str) -> Alias:
    """Make a tenant's own branch of a model if it is not there: it begins with what all have.

    Raises UnknownAlias where the model has none, and AliasError where the name is another's.
    """
    name, shared = name_branch(model, tenant), await read(conn, model)
    async with _transaction(conn, shared.live):
        cursor = await conn.execute(
            "insert into aliases (name, live, model, tenant) values (%s, %s, %s, %s)"
            " on conflict (name) do nothing returning name",
            (name, shared.live, model, tenant),
        )
        if await cursor.fetchone():
            reason = f"{tenant} gets its own adapter of {model}"
            await _note(conn, name, "create", shared.live, previous=None, reason=reason)
        branch = await _select(conn, name, lock=False)
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
        alias = await _select(conn, name, lock=True)
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


async def switch(conn: Connection, name: str, base: str, *, reason: str) -> Alias:
    """Let the alias stand on another base; the same again changes nothing.

    What it had on that base last is live again, else the base itself. What is live on the former
    base is nothing that a rollback returns to, and what was learnt there is left out of account
    until the alias is switched back.
    """
    async with _transaction(conn, base):
        alias = await _select(conn, name, lock=True)
        if await root_of(conn, alias.live) == base:
            return alias
        target = await last_on(conn, name, base) or base
        await _end_other_canary(conn, alias, target, f"switched to {base}")
        await _note(conn, name, "switch", target, previous=alias.live, reason=reason)
        await _withdraw(conn, name, target)
        return await _point(conn, name, target)


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
    async with _transaction(conn, checkpoint):
        alias = await _select(conn, name, lock=True, version=version)
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
        alias = await _point(
            conn,
            name,
            alias.live,
            canary=checkpoint,
            share=share,
            shadow=shadow,
            held=alias.held,
            by_answer=by_answer if alias.canary is None else alias.by_answer,
        )
        await _note(
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
        alias = await _select(conn, name, lock=True)
        if alias.canary is None:
            raise AliasError(f"{name!r} has no canary")
        if alias.held == held:
            return alias
        action = "hold" if held else "resume"
        await _note(
            conn, name, action, alias.canary, previous=alias.live, cycle=cycle, reason=reason
        )
        return await _point(
            conn,
            name,
            alias.live,
            canary=alias.canary,
            share=alias.share,
            shadow=alias.shadow,
            held=held,
            by_answer=alias.by_answer,
        )


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
    async with _transaction(conn, checkpoint):
        alias = await _select(conn, name, lock=True, version=version)
        if alias.live == checkpoint:
            return alias
        await require_own(conn, alias, checkpoint)
        if alias.canary != checkpoint:
            await require_same_base(conn, alias, checkpoint)
        stays = await root_of(conn, checkpoint) == await root_of(conn, alias.live)
        await _end_other_canary(conn, alias, checkpoint, f"{checkpoint} was promoted")
        await _note(
            conn,
            name,
            "promote" if stays else "switch",
            checkpoint,
            previous=alias.live,
            cycle=cycle,
            reason=reason,
            evidence=evidence,
        )
        await _withdraw(conn, name, checkpoint)
        return await _point(conn, name, checkpoint)


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
    async with _transaction(conn, checkpoint):
        alias = await _select(conn, name, lock=True, version=version)
        if alias.canary is None or checkpoint not in (None, alias.canary):
            return alias
        await _note(
            conn,
            name,
            "abort",
            alias.canary,
            previous=alias.live,
            cycle=cycle,
            reason=reason,
            evidence=evidence,
        )
        return await _point(conn, name, alias.live)


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
    async with _transaction(conn, to):
        alias = await _select(conn, name, lock=True, version=version)
        target = to or next(iter(await rollback_targets(conn, name)), None)
        if target is None:
            raise AliasError(f"{name!r} has had no checkpoint before {alias.live}; say which one")
        if target == alias.live:
            return await abort_canary(conn, name, reason=reason, evidence=evidence)
        await require_fits(conn, alias, target)
        await _end_other_canary(conn, alias, target, f"rolled back to {target}")
        await _note(
            conn, name, "rollback", target, previous=alias.live, reason=reason, evidence=evidence
        )
        await _withdraw(conn, name, target)
        return await _point(conn, name, target)


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


class _transaction:
    """A transaction (or savepoint) for pointing at a checkpoint.

    It says if that one is not registered or was pruned, and keeps it from being pruned meanwhile.
    """

    def __init__(self, conn: Connection, checkpoint: str | None) -> None:
        self._conn = conn
        self._inner = conn.transaction()
        self._checkpoint = checkpoint

    async def __aenter__(self) -> None:
        await self._inner.__aenter__()
        try:
            await self._require()
        except BaseException as error:
            await self._inner.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _require(self) -> None:
        cursor = await self._conn.execute(
            "select pruned_at from ancestry where id = %s for share", (self._checkpoint,)
        )
        row = await cursor.fetchone()
        if row is not None and row[0] is not None:
            raise AliasError(
                f"the files of {self._checkpoint} were pruned on {row[0]:%Y-%m-%d}: it is no more"
            )

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        await self._inner.__aexit__(kind, error, trace)
        if isinstance(error, psycopg.errors.ForeignKeyViolation):
            raise NotRegistered(f"no checkpoint {self._checkpoint!r} is registered") from error


async def _select(conn: Connection, name: str, *, lock: bool, version: int | None = None) -> Alias:
    cursor = await conn.execute(
        f"select {COLUMNS} from aliases where name = %s{' for update' if lock else ''}".encode(),
        (name,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownAlias(f"there is no alias {name!r}")
    alias = Alias(*row)
    if version not in (None, alias.version):
        raise StaleVersion(
            f"{name!r} is at version {alias.version}, not {version}: read it again and decide again"
        )
    return alias


async def _point(
    conn: Connection,
    name: str,
    live: str,
    *,
    canary: str | None = None,
    share: float = 0.0,
    shadow: float = 0.0,
    held: bool = False,
    by_answer: bool = False,
) -> Alias:
    cursor = await conn.execute(
        "update aliases set live = %(live)s, canary = %(canary)s, canary_share = %(share)s,"
        " shadow_share = %(shadow)s, held = %(held)s, by_answer = %(by_answer)s,"
        " version = version + 1, updated_at = now(),"
        " stepped_at = case when %(canary)s::text is not null then now() end"
        f" where name = %(name)s returning {COLUMNS}".encode(),
        {
            "name": name,
            "live": live,
            "canary": canary,
            "share": share,
            "shadow": shadow,
            "held": held,
            "by_answer": by_answer,
        },
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked by this transaction"
    return Alias(*row)


async def _withdraw(conn: Connection, name: str, live: str) -> None:
    """Mark the cycles whose work is not in what is live now, and no others."""
    await conn.execute("select withdraw_turns(%s, %s)", (name, live))


async def _end_other_canary(conn: Connection, alias: Alias, target: str, reason: str) -> None:
    if alias.canary is not None and alias.canary != target:
        await _note(conn, alias.name, "abort", alias.canary, previous=alias.live, reason=reason)


async def _note(
    conn: Connection,
    name: str,
    action: Change,
    checkpoint: str,
    *,
    previous: str | None,
    reason: str,
    cycle: int | None = None,
    evidence: Mapping[str, Any] | None = None,
    share: float | None = None,
) -> None:
    built = Jsonb(dict(evidence or {}))
    await conn.execute(
        "insert into releases (alias, action, checkpoint, previous, cycle, reason, evidence, share)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (name, action, checkpoint, previous, cycle, reason, built, share),
    )
    # Delivered when the transaction commits.
    await conn.execute("select pg_notify(%s, %s)", (CHANNEL, name))
