"""What keeps a generation while something comes to refer to it.

Where rows can be locked, the row is. Those of a columnstore cannot, so where there is one,
everything that comes to refer to generations shares one lock, which forgetting takes alone; and who
says what all feedback of a generation amounts to has the lock of its bucket.
"""

from __future__ import annotations

from typing import LiteralString

from liveweights.store.columnstore import has_columnstore
from liveweights.store.database import Connection

REFERENCE, BUCKET = 7_301_120_003, 730_112_004
"""Keys of advisory locks; the second with the number of a bucket."""

BUCKETS = 1024
"""The more, the less writers wait for each other; all must fit into the server's table of locks."""

# In one order for everybody, so that nobody waits in a circle.
LOCK_STAGED = """
select pg_advisory_xact_lock(%(bucket)s, number) from (
    select distinct hashtext(generation) & %(last)s as number from staged_feedback
    order by number
) ordered
"""


async def hold(conn: Connection) -> LiteralString:
    """How a query keeps the generations ``g`` that it reads, as by a foreign key, until the
    caller's transaction ends: what stands at its end; nothing where nobody forgets meanwhile."""
    if not await has_columnstore(conn):
        return "for key share of g"
    await _share(conn)
    return ""


async def hold_staged(conn: Connection) -> None:
    """Nobody forgets, and no one else adds feedback to the generations that staged feedback is
    about. For a columnstore."""
    await _share(conn)
    await conn.execute(LOCK_STAGED, {"bucket": BUCKET, "last": BUCKETS - 1})


async def hold_alone(conn: Connection) -> None:
    """Wait for all who hold generations, and keep others off until the transaction ends."""
    await conn.execute("select pg_advisory_xact_lock(%s)", (REFERENCE,))


async def _share(conn: Connection) -> None:
    await conn.execute("select pg_advisory_xact_lock_shared(%s)", (REFERENCE,))
