"""What an alias pointed at, and what it may return to."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.release.alias import Release
from liveweights.store.database import Connection


async def read_history(conn: Connection, name: str) -> list[Release]:
    """Every change of the alias, oldest first."""
    cursor = await conn.execute(
        "select action, checkpoint, previous, reason from releases where alias = %s order by id",
        (name,),
    )
    return [Release(*row) for row in await cursor.fetchall()]


def former_lives(releases: Sequence[Release]) -> list[str]:
    """What a rollback would return to, nearest first; what was rolled back from is not in it."""
    stack: list[str] = []
    for release in releases:
        if release.action == "switch":
            stack = [release.checkpoint]
        elif release.action in ("create", "promote"):
            # Once only: else rolling back from it would come to it again.
            stack = [checkpoint for checkpoint in stack if checkpoint != release.checkpoint]
            stack.append(release.checkpoint)
        elif release.action == "rollback":
            if release.checkpoint in stack:
                while stack[-1] != release.checkpoint:
                    stack.pop()
            else:
                stack[-1:] = [release.checkpoint]
    return stack[-2::-1]


async def rollback_targets(conn: Connection, name: str, *, lock: bool = False) -> list[str]:
    """The former live checkpoints that are still on disk, nearest first; with ``lock`` they are
    kept from being pruned until the transaction ends."""
    former = former_lives(await read_history(conn, name))
    locking = " for share" if lock else ""
    cursor = await conn.execute(
        f"select id from ancestry where id = any(%s) and pruned_at is null{locking}".encode(),
        (former,),
    )
    kept = {id_ for (id_,) in await cursor.fetchall()}
    return [checkpoint for checkpoint in former if checkpoint in kept]


TAKEN_BACK = """
select action, reason from releases
where alias = %(alias)s and (
    (action = 'rollback' and previous = %(id)s)
    or (action = 'promote' and checkpoint = %(id)s)
    or (action = 'abort' and checkpoint = %(id)s and (
        evidence->>'proven' = 'true' or evidence @? '$.guards[*] ? (@.broken == true)'))
) order by id desc limit 1
"""


async def taken_back(conn: Connection, name: str, checkpoint: str) -> str | None:
    """Why the alias may not have these weights again by itself, None if it may.

    They were rolled back from, or a canary of them was proven to do harm, and nobody has promoted
    them since.
    """
    cursor = await conn.execute(TAKEN_BACK, {"alias": name, "id": checkpoint})
    row = await cursor.fetchone()
    return row[1] if row and row[0] != "promote" else None


async def count_promotions(conn: Connection, name: str) -> int:
    """How often a candidate has become what is live of the alias."""
    cursor = await conn.execute(
        "select count(*) from releases where alias = %s and action = 'promote'", (name,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def last_on(conn: Connection, name: str, base: str) -> str | None:
    """What the alias last had live of that base, if it is still on disk."""
    cursor = await conn.execute(
        "select c.id from releases r join ancestry c on c.id = r.checkpoint"
        " where r.alias = %s and c.root = %s and c.pruned_at is null"
        " and r.action in ('create', 'promote', 'rollback', 'switch') order by r.id desc limit 1",
        (name, base),
    )
    row = await cursor.fetchone()
    return row[0] if row else None
