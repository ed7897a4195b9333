"""What all databases of a server have in common, and which of them use it up.

The size of each is bounded for itself. Beside it a session can fill what lies outside of every
database: the disk, the queue of notifications, the catalogues of roles and their settings. Nothing
of that can be taken from a role in Postgres, so it is looked at, and who does it is closed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psycopg

from liveweights.agentdb import holders
from liveweights.agentdb.settings import MIB
from liveweights.store.database import Connection

QUEUE_PAGES = 2048
"""Most pages (8 KiB) of the queue of notifications; Postgres itself would let it have 8 GiB."""
QUEUE = 0.5
"""Share of the queue from which sessions that keep it from being emptied are in the way."""
HOLD = "5 seconds"
"""For so long a session may be in a transaction, or not read, while the queue is so full."""
CATALOGUES = 64 * MIB
"""Size of the shared catalogues, in bytes; a thousand databases need a few MiB."""

QUEUE_REASON = "it kept the queue of notifications, which all databases share, from being emptied"
CATALOGUE_REASON = "it filled the catalogues that all databases share"

# Asking for its usage also empties the queue as far as its readers have come.
FULL_QUEUE = f"select pg_notification_queue_usage() > {QUEUE}"
# Only a session in a transaction, or one whose client does not read, stays behind in the queue.
# Postgres does not say who listens: the one that has been behind for longest is tried first.
HOLDER = f"""
select datname from (
    select datname, case when wait_event = 'ClientWrite' then state_change else xact_start end since
    from pg_stat_activity where backend_type = 'client backend' and datname ~ '^db_'
) behind where since < clock_timestamp() - interval '{HOLD}' order by since limit 1
"""
SHARED = "select sum(pg_total_relation_size(oid)) from pg_class where relisshared and relkind = 'r'"
WRITERS = """
select distinct a.datname from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'relation' and l.database = 0 and l.mode = 'RowExclusiveLock'
    and a.datname ~ '^db_'
"""
FILLED = "pg_db_role_setting, pg_authid, pg_auth_members, pg_shdepend"
"""Those that a database's own role can fill."""
# Anybody may read these, and stay in that transaction.
READERS = f"""
select pg_terminate_backend(pid, 5000) from (
    select distinct pid from pg_locks where locktype = 'relation' and database = 0
        and relation in (select oid from pg_class where relname = any('{{{FILLED}}}'))
) l join pg_stat_activity a using (pid)
where a.datname ~ '^db_' and a.backend_type = 'client backend'
    and a.xact_start < clock_timestamp() - interval '{holders.PATIENCE}'
"""
PATIENCE = "2s"
"""For so long nobody may connect while a catalogue waits to be written anew."""


class Disk(StrEnum):
    """What is free of it."""

    AMPLE = "ample"
    SHORT = "short"
    """Less than is kept free: nothing is made, and what was closed for the disk stays closed."""
    SCARCE = "scarce"
    """Less than half of that: databases that grow are closed."""


@dataclass(frozen=True, slots=True)
class Commons:
    """``blamed``: why a database, by its id, is to be closed."""

    disk: Disk = Disk.AMPLE
    blamed: dict[str, str] = field(default_factory=dict[str, str])


def disk_of(free: int, kept: int) -> Disk:
    """``free`` and what is to be ``kept`` free, in bytes."""
    if free >= kept:
        return Disk.AMPLE
    return Disk.SHORT if 2 * free >= kept else Disk.SCARCE


async def look(conn: Connection, folder: Path, kept: int) -> Commons:
    """``conn`` is the superuser's. On ``folder``'s disk ``kept`` bytes are kept free."""
    blamed: dict[str, str] = {}
    if await _first(conn, FULL_QUEUE) and (holder := await _first(conn, HOLDER)):
        blamed[str(holder)] = QUEUE_REASON
    if await _is_too_large(conn):
        cursor = await conn.execute(WRITERS.encode())
        filling = {name: CATALOGUE_REASON for (name,) in await cursor.fetchall()}
        blamed |= filling
        await conn.execute(f"vacuum {FILLED}".encode())
        if not filling and await _is_too_large(conn):
            await _rewrite(conn)
    return Commons(disk_of(shutil.disk_usage(folder).free, kept), blamed)


async def _is_too_large(conn: Connection) -> bool:
    """Of the shared catalogues."""
    return int(str(await _first(conn, SHARED))) > CATALOGUES


async def _rewrite(conn: Connection) -> None:
    """For what vacuum cannot give back, since a row in use is at the end."""
    await conn.execute(READERS.encode())
    await conn.execute(f"set lock_timeout = '{PATIENCE}'".encode())
    try:
        await conn.execute(f"vacuum full {FILLED}".encode())
    except psycopg.errors.LockNotAvailable:
        pass  # at the next look
    finally:
        await conn.execute(b"reset lock_timeout")


async def _first(conn: Connection, query: str) -> object:
    row = await (await conn.execute(query.encode())).fetchone()
    return row[0] if row else None
