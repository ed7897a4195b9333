"""A look at all databases that starts no server."""

from __future__ import annotations

from pathlib import Path

import psycopg

from liveweights.agentdb.endpoint import has_host, read_endpoint, read_secret
from liveweights.agentdb.rows import Database, read
from liveweights.store.database import Connection

PATIENCE = 5
"""Seconds to wait for a connection."""


async def peek(folder: Path) -> list[Database] | None:
    """Everybody's databases on the server of ``folder``, oldest first; None where it does not run.
    What they hold is not looked at."""
    endpoint = read_endpoint(folder) if has_host(folder) else None
    if endpoint is None:
        return None
    dsn = endpoint.superuser(read_secret(folder))
    try:
        conn: Connection
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=PATIENCE
        ) as conn:
            return await read(conn, "state <> 'deleting'")
    except psycopg.OperationalError:
        # It is about to end, or has just begun.
        return None
