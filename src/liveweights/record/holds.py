"""What keeps a generation while something comes to refer to it.

Where rows can be locked, the row is. Those of a columnstore cannot, so where there is one,
everything that refers to generations shares one lock, which forgetting takes alone; and who says
what all feedback of a generation amounts to has the lock of its bucket.
"""

from __future__ import annotations

from typing import LiteralString

from liveweights.store.database import Connection

REFERENCE, BUCKET = 7_301_120_003, 730_112_004
"""Keys of advisory locks; the second with the number of a bucket."""

BUCKETS = 1024
"""The more, the less writers wait for each other; all must fit into the server's table of locks."""

SHARE: LiteralString = f"select pg_advisory_xact_lock_shared({REFERENCE})"

ALONE: LiteralString = f"select pg_advisory_xact_lock({REFERENCE})"

# In one order for everybody, so that nobody waits in a circle.
LOCK_STAGED: LiteralString = f"""
select pg_advisory_xact_lock({BUCKET}, bucket) from (
    select distinct hashtext(generation) & {BUCKETS - 1} as bucket from staged_feedback
    order by bucket
) ordered
"""


async def hold_staged(conn: Connection) -> None:
    """Until the caller's transaction ends nobody forgets, and no one else adds feedback to the
    generations that staged feedback is about."""
    await conn.execute(SHARE)
    await conn.execute(LOCK_STAGED)


async def hold(conn: Connection) -> None:
    """Until the caller's transaction ends nobody forgets."""
    await conn.execute(SHARE)


async def hold_alone(conn: Connection) -> None:
    """Wait for all who hold generations, and keep others off until the transaction ends."""
    await conn.execute(ALONE)
