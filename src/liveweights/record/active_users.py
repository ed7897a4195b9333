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
from liveweights.store.database import Connection, Pool

log = logging.getLogger(__name__)

DAYS = 30
"""For how long users are kept who do not come back."""
EVERY = 3600.0
KEPT = 50_000

# In one order for everybody; who was noted that day already costs a look. Who was forgotten since
# asking is as ``forget.hash_of`` says.
NOTE = """
insert into last_seen (tenant, user_id, last_day)
select tenant, user_id, (at at time zone 'UTC')::date
from json_to_recordset(%(seen)s::json) seen (tenant text, user_id text, at timestamptz)
where not exists (
    select from last_seen known
    where (known.tenant, known.user_id) = (seen.tenant, seen.user_id)
        and known.last_day >= (seen.at at time zone 'UTC')::date
) and not exists (
    select from forgotten f
    where f.at >= seen.at and f.user_hash = sha256(
        convert_to(seen.tenant, 'UTF8') || '\\x00'::bytea || convert_to(seen.user_id, 'UTF8'))
)
order by tenant, user_id
on conflict (tenant, user_id) do update set last_day = excluded.last_day
    where last_seen.last_day < excluded.last_day
"""
REMOVE = "delete from last_seen where tenant = %s and user_id = %s"
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
        self._kept = kept
        self._days: dict[tuple[str, str], date] = {}
        self._older: dict[tuple[str, str], date] = {}

    def list_new(self, users: Users) -> Users:
        """Those who may not be noted for their day."""
        return {who: at for who, at in users.items() if self._last(who) < at.date()}

    def add(self, users: Users) -> None:
        """They are noted, and that is committed."""
        self._days |= {who: max(at.date(), self._last(who)) for who, at in users.items()}
        if len(self._days) >= self._kept:
            self._older, self._days = self._days, {}

    def _last(self, who: tuple[str, str]) -> date:
        return self._days.get(who) or self._older.get(who, date.min)


async def note(conn: Connection, users: Users) -> None:
    """In the transaction that stores their answers, before it takes the rollups. Who was forgotten
    since is nobody."""
    if users:
        told = [
            {"tenant": tenant, "user_id": user, "at": at} for (tenant, user), at in users.items()
        ]
        await conn.execute(NOTE, {"seen": msgspec.json.encode(told).decode()})


async def remove(conn: Connection, tenant: str, user: str) -> None:
    """One who is forgotten; in the order of writers, before their answers and the rollups."""
    await conn.execute(REMOVE, (tenant, user))


async def keep_month(pool: Pool, *, every: float = EVERY) -> None:
    """For ever: drop who did not ask for a month."""
    while True:
        try:
            async with pool.connection() as conn:
                await conn.execute(DROP, (datetime.now(UTC).date() - timedelta(days=DAYS),))
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("users of more than a month ago are kept for longer: %s", error)
        await asyncio.sleep(every)
