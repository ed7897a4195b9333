"""Public model names and every change of what they point at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered

CHANNEL = "liveweights_aliases"
Change = Literal[
    "create", "canary", "step", "hold", "resume", "promote", "abort", "rollback", "switch"
]
COLUMNS = "name, live, canary, canary_share, version, shadow_share, held, stepped_at"


class AliasError(ValueError):
    """The change does not fit what the alias is now; the message says why."""


class UnknownAlias(LookupError):
    """There is no such alias."""


class AnotherBase(AliasError):
    """The checkpoint and the alias do not build on the same base."""


class StaleVersion(AliasError):
    """The alias was changed by somebody else since it was read."""


@dataclass(frozen=True, slots=True)
class Alias:
    """What a public name points at; ``share`` of sessions go to ``canary``.

    ``shadow`` of the requests that the live checkpoint answers are also put to the canary, whose
    answer nobody sees. A canary that is ``held`` takes no step and is not promoted by itself;
    ``stepped_at`` is when its share last changed or its hold ended.
    """

    name: str
    live: str
    canary: str | None
    share: float
    version: int
    shadow: float = 0.0
    held: bool = False
    stepped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """One line of an alias's history."""

    action: Change
    checkpoint: str
    previous: str | None
    reason: str


async def read(conn: Connection, name: str) -> Alias:
    """The alias as it stands. Raises UnknownAlias."""
    return await _select(conn, name, lock=False)


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
        target = await _last_on(conn, name, base) or base
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
    cycle: int | None = None,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Alias:
    """Send ``share`` of the sessions to ``checkpoint``, and ``shadow`` of the others' requests too.

    A canary that runs takes a step; the same again changes nothing. Raises AliasError when it is
    live already or another canary runs.
    """
    async with _transaction(conn, checkpoint):
        alias = await _select(conn, name, lock=True, version=version)
        await _require_same_base(conn, alias, checkpoint)
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
        held = alias.held
        alias = await _point(
            conn, name, alias.live, canary=checkpoint, share=share, shadow=shadow, held=held
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
    """Make ``checkpoint`` live and end any canary; promoting what is live changes nothing."""
    async with _transaction(conn, checkpoint):
        alias = await _select(conn, name, lock=True, version=version)
        if alias.live == checkpoint:
            return alias
        await _require_same_base(conn, alias, checkpoint)
        await _end_other_canary(conn, alias, checkpoint, f"{checkpoint} was promoted")
        await _note(
            conn,
            name,
            "promote",
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
        await _require_same_base(conn, alias, target)
        await _end_other_canary(conn, alias, target, f"rolled back to {target}")
        await _note(
            conn, name, "rollback", target, previous=alias.live, reason=reason, evidence=evidence
        )
        await _withdraw(conn, name, target)
        return await _point(conn, name, target)


async def taken_back(conn: Connection, name: str, checkpoint: str) -> str | None:
    """Why the alias may not have these weights again by itself, None if it may.

    They were rolled back from, or a canary of them was proven to do harm, and nobody has promoted
    them since.
    """
    cursor = await conn.execute(TAKEN_BACK, {"alias": name, "id": checkpoint})
    row = await cursor.fetchone()
    return row[1] if row and row[0] != "promote" else None


TAKEN_BACK = """
select action, reason from releases
where alias = %(alias)s and (
    (action = 'rollback' and previous = %(id)s)
    or (action = 'promote' and checkpoint = %(id)s)
    or (action = 'abort' and checkpoint = %(id)s and (
        evidence->>'proven' = 'true' or evidence @? '$.guards[*] ? (@.broken == true)'))
) order by id desc limit 1
"""


async def history(conn: Connection, name: str) -> list[Release]:
    """Every change of the alias, oldest first."""
    cursor = await conn.execute(
        "select action, checkpoint, previous, reason from releases where alias = %s order by id",
        (name,),
    )
    return [Release(*row) for row in await cursor.fetchall()]


def former_lives(releases: Sequence[Release]) -> list[str]:
    """What a rollback would return to, nearest first; what was rolled back from is not in it."""
    stack: list[str] = []
    for release in releases:
        if release.action == "switch":
            stack = [release.checkpoint]
        elif release.action in ("create", "promote"):
            # Once only: else rolling back from it would come to it again.
            stack = [checkpoint for checkpoint in stack if checkpoint != release.checkpoint]
            stack.append(release.checkpoint)
        elif release.action == "rollback":
            if release.checkpoint in stack:
                while stack[-1] != release.checkpoint:
                    stack.pop()
            else:
                stack[-1:] = [release.checkpoint]
    return stack[-2::-1]


async def rollback_targets(conn: Connection, name: str) -> list[str]:
    """The former live checkpoints that are still on disk, nearest first.

    Inside a transaction they are kept from being pruned until it ends.
    """
    former = former_lives(await history(conn, name))
    cursor = await conn.execute(
        "select id from ancestry where id = any(%s) and pruned_at is null for share", (former,)
    )
    kept = {id_ for (id_,) in await cursor.fetchall()}
    return [checkpoint for checkpoint in former if checkpoint in kept]


async def _require_same_base(conn: Connection, alias: Alias, checkpoint: str) -> None:
    wanted, has = await root_of(conn, checkpoint), await root_of(conn, alias.live)
    if wanted is not None and wanted != has:
        raise AnotherBase(
            f"{checkpoint} builds on {wanted}, and {alias.name!r} stands on {has};"
            " `liveweights up --model ... --switch-alias` is how an alias gets another base"
        )


async def _last_on(conn: Connection, name: str, base: str) -> str | None:
    """What the alias last had live of that base, if it is still on disk."""
    cursor = await conn.execute(
        "select c.id from releases r join ancestry c on c.id = r.checkpoint"
        " where r.alias = %s and c.root = %s and c.pruned_at is null"
        " and r.action in ('create', 'promote', 'rollback', 'switch') order by r.id desc limit 1",
        (name, base),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


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
) -> Alias:
    cursor = await conn.execute(
        "update aliases set live = %(live)s, canary = %(canary)s, canary_share = %(share)s,"
        " shadow_share = %(shadow)s, held = %(held)s, version = version + 1, updated_at = now(),"
        " stepped_at = case when %(canary)s::text is not null then now() end"
        f" where name = %(name)s returning {COLUMNS}".encode(),
        {
            "name": name,
            "live": live,
            "canary": canary,
            "share": share,
            "shadow": shadow,
            "held": held,
        },
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked by this transaction"
    return Alias(*row)


async def count_promotions(conn: Connection, name: str) -> int:
    """How often a candidate has become what is live of the alias."""
    cursor = await conn.execute(
        "select count(*) from releases where alias = %s and action = 'promote'", (name,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


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
