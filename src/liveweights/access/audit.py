"""What people changed: one row each, in the same transaction as the change, whichever way it came.

What the service does by itself (cycles, releases by the gate) has records of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import msgspec
from psycopg.types.json import Jsonb

from liveweights.access.actions import Action
from liveweights.store.database import Connection

T = TypeVar("T")
NOTHING: Mapping[str, object] = MappingProxyType({})

COMMAND = "command"
"""The actor of what commands change: whoever may read the service's home."""
OPERATOR_KEY = "operator key"
"""The actor of what is changed with the operator's key, on pages and below /admin."""


@dataclass(frozen=True, slots=True)
class Event:
    """``action`` was done to ``target``; ``details`` are what was asked for, without secrets and
    without words that a user may want deleted: rows stay for ever."""

    action: Action
    target: str
    details: Mapping[str, object] = field(default_factory=dict[str, object])


Do: TypeAlias = Callable[[Connection], Awaitable[tuple[T, Event | None]]]
"""Changes something, in the caller's transaction, and says what; None where all is as it was."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row: what ``actor`` changed, and when."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    details: dict[str, Any]


async def carry_out(
    conn: Connection, actor: str, do: Do[T], beside: Mapping[str, object] = NOTHING
) -> T:
    """What ``do`` gives; its change and the row of it are one transaction."""
    async with conn.transaction():
        given, event = await do(conn)
        if event is not None:
            await write_entry(conn, actor, event, beside)
    return given


async def write_entry(
    conn: Connection, actor: str, event: Event, beside: Mapping[str, object] = NOTHING
) -> None:
    """Note a change, in its transaction, with details ``beside`` its own. The table refuses to lose
    the row."""
    details = msgspec.to_builtins({**beside, **event.details})
    await conn.execute(
        "insert into audit (actor, action, target, details) values (%s, %s, %s, %s)",
        (actor, event.action, event.target, Jsonb(details)),
    )


async def read_entries(conn: Connection, before: int | None, count: int) -> list[Entry]:
    """At most ``count``, newest first, older than the one of id ``before``."""
    cursor = await conn.execute(
        "select id, at, actor, action, target, details from audit "
        "where %s::bigint is null or id < %s order by id desc limit %s",
        (before, before, count),
    )
    names = Entry.__struct_fields__
    return [Entry(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]
