"""Who asked in the last month, in step with the answers: to count users, none of those is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from liveweights.record.binary import Row, created_at
from liveweights.store.database import Connection, Pool

log = logging.getLogger(__name__)

DAYS = 30
"""For how long users are kept who do not come back."""
EVERY = 3600.0
KEPT = 50_000

# In one order for everybody; who was noted that day already costs a look.
NOTE = """
insert into last_seen (tenant, user_id, last_day)
select tenant, user_id, last_day
from json_to_recordset(%(seen)s::json) seen (tenant text, user_id text, last_day date)
where not exists (
    select from last_seen known
    where (known.tenant, known.user_id) = (seen.tenant, seen.user_id)
        and known.last_day >= seen.last_day
)
order by tenant, user_id
on conflict (tenant, user_id) do update set last_day = excluded.last_day
    where last_seen.last_day < excluded.last_day
"""
# Who came back after having been forgotten is here.
REMOVE = """
delete from last_seen s
using unnest(%(tenants)s::text[], %(users)s::text[]) as gone (tenant, user_id)
where (s.tenant, s.user_id) = (gone.tenant, gone.user_id) and not exists (
    select from generations g where (g.tenant, g.user_id) = (gone.tenant, gone.user_id)
)
"""
DROP = "delete from last_seen where last_day < %s"


Users = Mapping[tuple[str, str], date]
"""The last day (UTC) of each, by tenant and user."""


def users_of(rows: Sequence[Row]) -> dict[tuple[str, str], date]:
    """Who asked. Users of imported answers were others'."""
    seen: dict[tuple[str, str], date] = {}
    for row in rows:
        _, _, checkpoint, tenant, _ = row.group
        if row.user is not None and not checkpoint.endswith("@import"):
            day = created_at(row).date()
            seen[tenant, row.user] = max(seen.get((tenant, row.user), day), day)
    return seen


class Noted:
    """Those noted lately, at least ``kept`` of them, so that nobody is noted with each answer. Who
    is forgotten and comes back the same day is noted the next day."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._days: dict[tuple[str, str], date] = {}
        self._older: dict[tuple[str, str], date] = {}

    def list_new(self, users: Users) -> Users:
        """Those who may not be noted for their day."""
        return {who: day for who, day in users.items() if self._last(who) < day}

    def add(self, users: Users) -> None:
        """They are noted, and that is committed."""
        self._days |= {who: max(day, self._last(who)) for who, day in users.items()}
        if len(self._days) >= self._kept:
            self._older, self._days = self._days, {}

    def _last(self, who: tuple[str, str]) -> date:
        return self._days.get(who) or self._older.get(who, date.min)


async def note(conn: Connection, users: Users) -> None:
    """In the transaction that stores their answers."""
    if users:
        told = [
            {"tenant": tenant, "user_id": user, "last_day": day}
            for (tenant, user), day in users.items()
        ]
        await conn.execute(NOTE, {"seen": msgspec.json.encode(told).decode()})


async def remove(conn: Connection, owners: Collection[tuple[str, str]]) -> None:
    """Those (tenant, user) of whom no answer is left in Postgres."""
    which = {"tenants": [tenant for tenant, _ in owners], "users": [user for _, user in owners]}
    await conn.execute(REMOVE, which)


async def keep_month(pool: Pool, *, every: float = EVERY) -> None:
    """For ever: drop who did not ask for a month."""
    while True:
        try:
            async with pool.connection() as conn:
                await conn.execute(DROP, (datetime.now(UTC).date() - timedelta(days=DAYS),))
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("users of more than a month ago are kept for longer: %s", error)
        await asyncio.sleep(every)
