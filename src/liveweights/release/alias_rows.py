"""The row of an alias: read under a lock, pointed at checkpoints, and every change noted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from liveweights.release.alias import (
    CHANNEL,
    COLUMNS,
    Alias,
    AliasError,
    Change,
    StaleVersion,
    UnknownAlias,
)
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered


class pointing:
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


async def select(conn: Connection, name: str, *, lock: bool, version: int | None = None) -> Alias:
    """The alias as it stands, held by this transaction with ``lock``. Raises UnknownAlias, and
    StaleVersion where it is not at the ``version`` that was decided on."""
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


async def point(
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
    """Let the row, which this transaction holds, say this; as it is then."""
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


async def withdraw(conn: Connection, name: str, live: str) -> None:
    """Mark the cycles whose work is not in what is live now, and no others."""
    await conn.execute("select withdraw_turns(%s, %s)", (name, live))


async def end_other_canary(conn: Connection, alias: Alias, target: str, reason: str) -> None:
    """Note that a canary which is not the ``target`` ends."""
    if alias.canary is not None and alias.canary != target:
        await note(conn, alias.name, "abort", alias.canary, previous=alias.live, reason=reason)


async def note(
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
    """Write down a change, of which everybody hears once it is committed."""
    built = Jsonb(dict(evidence or {}))
    await conn.execute(
        "insert into releases (alias, action, checkpoint, previous, cycle, reason, evidence, share)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (name, action, checkpoint, previous, cycle, reason, built, share),
    )
    # Delivered when the transaction commits.
    await conn.execute("select pg_notify(%s, %s)", (CHANNEL, name))
