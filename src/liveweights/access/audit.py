"""What people changed: one row each, in the same transaction as the change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from liveweights.store.database import Connection

COMMAND = "command"
"""The actor of what commands change: whoever may read the service's home."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """``actor`` did ``action`` to ``target``; ``details`` are what was asked for."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    details: dict[str, Any]


async def write_entry(
    conn: Connection, actor: str, action: str, target: str, details: Mapping[str, Any] | None = None
) -> None:
    """Note a change. Rows stay for ever: the table refuses to lose them."""
    await conn.execute(
        "insert into audit (actor, action, target, details) values (%s, %s, %s, %s)",
        (actor, action, target, Jsonb(dict(details or {}))),
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
