"""Sessions of agents that hold locks which the platform waits for: they are ended.

Any role may lock rows of the shared catalogues that are its own (``alter role current_user set``),
and other databases and roles against removal (``grant ... to``), until its transaction ends.
"""

from __future__ import annotations

import asyncio
import logging

from liveweights.store.database import Connection

log = logging.getLogger(__name__)

PATIENCE = "1 second"
"""For so long an agent's session may keep the platform waiting."""
PAUSE = 0.5
"""Seconds between two looks."""
# The platform's sessions are those in the control database. Not pg_stat_activity, which reads
# pg_authid: it would wait for that to be written anew, together with who is to be helped.
END = f"""
select distinct d.datname, h.pid, pg_terminate_backend(h.pid)
from pg_locks l join pg_stat_get_activity(null) w on w.pid = l.pid
    join pg_database own on own.oid = w.datid and own.datname = current_database(),
    unnest(pg_blocking_pids(l.pid)) as b (pid)
    join pg_stat_get_activity(null) h on h.pid = b.pid and h.backend_type = 'client backend'
    join pg_database d on d.oid = h.datid and d.datname ~ '^db_'
where not l.granted and l.waitstart < clock_timestamp() - interval '{PATIENCE}'
"""


async def end_always(conn: Connection) -> None:
    """Look again and again, until it is cancelled. ``conn`` is the superuser's, to the control
    database, and used for nothing else. Raises psycopg.Error."""
    while True:
        for identifier, *_ in await (await conn.execute(END.encode())).fetchall():
            log.warning("%s: a session is ended that kept the platform waiting", identifier)
        await asyncio.sleep(PAUSE)
