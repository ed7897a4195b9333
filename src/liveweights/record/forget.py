"""A user's right to be forgotten."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from liveweights.store.database import Connection


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed now, and every checkpoint that rows of the user ever influenced."""

    generations: int
    feedback: int
    checkpoints: list[str]


CYCLES = "select distinct cycle from cycle_rows where generation = any(%s) order by cycle"

# A candidate is influenced by what its cycle read: by the training part through its weights, by
# the part held back through the verdict. Whatever was learnt from it or is built on it inherits.
INFLUENCED = """
with recursive influenced as (
    select c.candidate as id from cycles c
    where c.candidate is not null and c.id = any(
        select unnest(f.cycles) from forgotten f where f.user_hash = %s
    )
    union
    select k.id from checkpoints k join influenced i on i.id in (k.parent, k.base)
)
select id from influenced order by id
"""


async def forget(conn: Connection, tenant: str, user: str) -> Forgotten:
    """Remove all generations of the user with their feedback, in one transaction.

    Weights cannot be made to forget: the checkpoints that are named should be retired. The cycles
    that had read the rows are kept in the table ``forgotten`` with a hash of the user, so asking
    again names the checkpoints again, and those that came since.
    """
    digest = hashlib.sha256(f"{tenant}\0{user}".encode()).digest()
    async with conn.transaction():
        # Locked, so that feedback on its way either is removed too or finds no generation.
        cursor = await conn.execute(
            "select id from generations where tenant = %s and user_id = %s order by id for update",
            (tenant, user),
        )
        ids = [id for (id,) in await cursor.fetchall()]
        cursor = await conn.execute(CYCLES, (ids,))
        cycles = [cycle for (cycle,) in await cursor.fetchall()]
        await conn.execute("delete from cycle_rows where generation = any(%s)", (ids,))
        cursor = await conn.execute("delete from feedback where generation = any(%s)", (ids,))
        feedback = cursor.rowcount
        await conn.execute("delete from shadow_answers where generation = any(%s)", (ids,))
        await conn.execute("delete from generations where id = any(%s)", (ids,))
        if ids:
            await conn.execute(
                "insert into forgotten (user_hash, generations, feedback, cycles) "
                "values (%s, %s, %s, %s)",
                (digest, len(ids), feedback, cycles),
            )
        cursor = await conn.execute(INFLUENCED, (digest,))
        checkpoints = [id for (id,) in await cursor.fetchall()]
    return Forgotten(len(ids), feedback, checkpoints)
