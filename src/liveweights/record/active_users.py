"""Who asked in the last month, in step with the answers: to count users, none of those is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from liveweights.record.binary import Row, created_at
from liveweights.record.forget import hash_of
from liveweights.record.recent import Recent
from liveweights.store.database import Connection, Pool

log = logging.getLogger(__name__)

DAYS = 30
"""For how long users are kept who do not come back."""
EVERY = 3600.0
KEPT = 50_000

# In one order for everybody; who was noted that day already costs a look.
NOTE = """
insert into last_seen (tenant, user_id, last_day)
select tenant, user_id, (at at time zone 'UTC')::date
from json_to_recordset(%(seen)s::json)
    seen (tenant text, user_id text, at timestamptz, user_hash text)
where not exists (
    select from last_seen known
    where (known.tenant, known.user_id) = (seen.tenant, seen.user_id)
        and known.last_day >= (seen.at at time zone 'UTC')::date
) and not exists (
    select from forgotten f
    where f.at >= seen.at and f.user_hash = decode(seen.user_hash, 'hex')
)
order by tenant, user_id
on conflict (tenant, user_id) do update set last_day = excluded.last_day
    where last_seen.last_day < excluded.last_day
"""
# Whom a writer notes meanwhile is back.
DROP = """
delete from last_seen where (tenant, user_id) in (
    select tenant, user_id from last_seen where last_day < %s
    order by tenant, user_id for update skip locked
)
"""


Users = Mapping[tuple[str, str], datetime]
"""When each asked last, by tenant and user."""


def users_of(rows: Sequence[Row]) -> Users:
    """Who asked. Users of imported answers were others'."""
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        _, _, checkpoint, tenant, _ = row.group
        if row.user is not None and not checkpoint.endswith("@import"):
            known = last.setdefault((tenant, row.user), row)
            if known.created < row.created:
                last[tenant, row.user] = row
    return {who: created_at(row) for who, row in last.items()}


class Noted:
    """Those noted lately, at least ``kept`` of them, so that nobody is noted with each answer. Who
    is forgotten and comes back the same day is noted the next day."""

    def __init__(self, kept: int = KEPT) -> None:
        self._days = Recent[tuple[str, str], date](kept)

    def list_new(self, users: Users) -> Users:
        """Those who may not be noted for their day."""
        return {who: at for who, at in users.items() if self._days.get(who, date.min) < at.date()}

    def add(self, users: Users) -> None:
        """They are noted, and that is committed."""
        for who, at in users.items():
            self._days.put(who, max(at.date(), self._days.get(who, date.min)))


async def note(conn: Connection, users: Users) -> None:
    """In the transaction that stores their answers, before it takes the rollups. Who was forgotten
    since is nobody."""
    if users:
        told = [
            {"tenant": tenant, "user_id": user, "at": at, "user_hash": hash_of(tenant, user).hex()}
            for (tenant, user), at in users.items()
        ]
        await conn.execute(NOTE, {"seen": msgspec.json.encode(told).decode()})


async def keep_month(pool: Pool, *, every: float = EVERY) -> None:
    """For ever: drop who did not ask for a month."""
    while True:
        try:
            async with pool.connection() as conn:
                await conn.execute(DROP, (datetime.now(UTC).date() - timedelta(days=DAYS),))
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("users of more than a month ago are kept for longer: %s", error)
        await asyncio.sleep(every)
