"""Deletions of users that were begun: what is left to do in files once the rows are gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from liveweights.record.forget import hash_of
from liveweights.store.database import Connection

READ = """
select array_agg(f.id),
    array(select distinct unnest(cycles) from forgotten
        where user_hash = %(digest)s and finished_at is null order by 1),
    array(select distinct unnest(days) from forgotten
        where user_hash = %(digest)s and finished_at is null order by 1)
from forgotten f where user_hash = %(digest)s and finished_at is null
"""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The ``entries`` of one user, the cycles that had read the rows, and the days of these."""

    entries: list[int]
    cycles: list[int]
    days: list[date]


async def read_unfinished(conn: Connection, tenant: str, user: str) -> Unfinished:
    """Of all calls that did not come to their end, the one under way among them."""
    cursor = await conn.execute(READ, {"digest": hash_of(tenant, user)})
    row = await cursor.fetchone()
    assert row is not None
    entries, cycles, days = row
    return Unfinished(entries or [], cycles, days)


async def finish(conn: Connection, unfinished: Unfinished) -> None:
    """Nothing is left to do of them, in the caller's transaction."""
    await conn.execute(
        "update forgotten set finished_at = now(), days = '{}' where id = any(%s)",
        (unfinished.entries,),
    )
