"""The audit of a database, for tests of what writes to it."""

from __future__ import annotations

import asyncio

from liveweights.access.audit import Entry, read_entries
from liveweights.store.database import Connection


def read_audit(dsn: str) -> list[Entry]:
    """The newest 99 rows, the newest first."""

    async def go() -> list[Entry]:
        async with await Connection.connect(dsn) as conn:
            return await read_entries(conn, None, 99)

    return asyncio.run(go())


def read_changes(dsn: str) -> list[tuple[str, str, str]]:
    """Who did what to what, the oldest first."""
    return [(one.actor, one.action, one.target) for one in reversed(read_audit(dsn))]
