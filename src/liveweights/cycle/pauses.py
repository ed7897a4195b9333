"""Learning that is paused: a row that every worker looks at before each step.

No cycle begins meanwhile, and the open one goes no further than the step that it is at. A canary
goes on, to its end: holding it is another thing (``release.canaries.hold_canary``).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from liveweights.cycle.states import State
from liveweights.release.alias import AliasError, UnknownAlias
from liveweights.store.database import Connection

LONGEST_REASON = 500
"""Characters."""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Since when, by whom and why."""

    since: datetime
    actor: str
    reason: str


def goes_on(pause: Pause | None, state: State) -> bool:
    """Whether a cycle in that state takes its next step."""
    return pause is None or state == "canary"


async def read_pause(conn: Connection, alias: str) -> Pause | None:
    """None where the alias's learning is not paused."""
    cursor = await conn.execute(
        "select since, actor, reason from pauses where alias = %s", (alias,)
    )
    row = await cursor.fetchone()
    return Pause(since=row[0], actor=row[1], reason=row[2]) if row else None


async def pause(conn: Connection, alias: str, reason: str, *, actor: str) -> Pause:
    """Raises AliasError where it is paused already, and for a reason that is empty or too long;
    UnknownAlias."""
    reason = reason.strip()
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise AliasError(f"a pause needs a reason of 1 to {LONGEST_REASON} characters: it is shown")
    cursor = await conn.execute(
        "insert into pauses (alias, actor, reason)"
        " select alias, %(actor)s, %(reason)s from standing where alias = %(alias)s"
        " on conflict (alias) do nothing returning since",
        {"alias": alias, "actor": actor, "reason": reason},
    )
    row = await cursor.fetchone()
    if row is not None:
        return Pause(since=row[0], actor=actor, reason=reason)
    if (before := await read_pause(conn, alias)) is None:
        raise UnknownAlias(f"there is no alias {alias!r}")
    raise AliasError(f"{alias!r} is paused already, by {before.actor}: {before.reason}")


async def resume(conn: Connection, alias: str) -> None:
    """Raises AliasError where it is not paused."""
    cursor = await conn.execute("delete from pauses where alias = %s returning 1", (alias,))
    if await cursor.fetchone() is None:
        raise AliasError(f"{alias!r} is not paused: there is nothing to resume")


async def require_no_pause(conn: Connection, alias: str) -> None:
    """Raises AliasError."""
    if (found := await read_pause(conn, alias)) is not None:
        raise AliasError(
            f"{alias!r} is paused by {found.actor}: {found.reason}; resume it first"
            " (`liveweights cycle --resume`)"
        )
