"""The pools and leases of all processes, in Postgres."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec

from liveweights.meter.leases import (
    REMEMBERED,
    Ask,
    Grant,
    Lease,
    LeasesAway,
    Pool,
    exchange,
    new_pool,
)
from liveweights.meter.limits import Limiter
from liveweights.store.database import Connection, listen
from liveweights.store.database import Pool as Connections
from liveweights.store.faults import AWAY, note_fault

log = logging.getLogger(__name__)

CHANNEL = "liveweights_allowances"
PATIENCE = 5.0
"""Seconds to wait for a connection, and for others who have the same pools in hand."""
FORGET_SECONDS = 3600.0
Place = tuple[str, str, datetime]

_LOCK = """
select owner, name, begins, most, rest, extract(epoch from counted_at)::float8, used, warned
from allowances
where (owner, name, begins) in (
    select * from json_to_recordset(%s::json) as p (owner text, name text, begins timestamptz))
order by owner, name, begins for update
"""
_ADD = """
insert into allowances (owner, name, begins, most, rest)
select owner, name, begins, most, most
from json_to_recordset(%s::json)
    as missing (owner text, name text, begins timestamptz, most bigint)
order by owner, name, begins
on conflict do nothing
"""
# The time is there without any lease, too.
_LEASES = """
select extract(epoch from clock_timestamp())::float8, l.owner, l.name, l.begins, l.instance,
    l.amount, extract(epoch from l.until)::float8, l.report, l.warned
from json_to_recordset(%s::json) as p (owner text, name text, begins timestamptz)
left join allowance_leases l using (owner, name, begins)
"""
_KEEP = """
with kept as (
    update allowances a set most = c.most, rest = c.rest, counted_at = to_timestamp(c.at),
        used = c.used, warned = c.warned
    from json_to_recordset(%(pools)s::json) as c (
        owner text, name text, begins timestamptz, most bigint, rest bigint, at float8,
        used bigint, warned boolean)
    where (a.owner, a.name, a.begins) = (c.owner, c.name, c.begins)
)
insert into allowance_leases (owner, name, begins, instance, amount, until, report, warned)
select owner, name, begins, instance, amount, to_timestamp(until), report, warned
from json_to_recordset(%(leases)s::json) as lent (
    owner text, name text, begins timestamptz, instance text, amount bigint, until float8,
    report bigint, warned boolean)
on conflict (owner, name, begins, instance)
do update set amount = excluded.amount, until = excluded.until, report = excluded.report,
    warned = excluded.warned
"""
_END = """
delete from allowance_leases l
using json_to_recordset(%s::json)
    as ended (owner text, name text, begins timestamptz, instance text)
where (l.owner, l.name, l.begins, l.instance)
    = (ended.owner, ended.name, ended.begins, ended.instance)
"""
_REFUND = """
update allowances a
set used = a.used - least(a.used, r.nanos), rest = a.rest + least(a.used, r.nanos)
from json_to_recordset(%s::json)
    as r (owner text, name text, begins timestamptz, nanos bigint)
where (a.owner, a.name, a.begins) = (r.owner, r.name, r.begins)
"""
_FORGET = (
    "delete from allowances where begins > '1970-01-02' and begins < now() - interval '100 days'"
)
_FORGET_SAID = """
delete from allowance_leases where amount = 0 and until < now() - make_interval(secs => %s)
"""


class LeaseRows:
    """Each question is one transaction, which locks the pools that it is about, in one order for
    all processes. Times are the database's."""

    def __init__(self, connections: Connections, instance: str, *, warn_at: float = 1.0) -> None:
        self._connections = connections
        self._instance = instance
        self._warn_at = warn_at

    async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
        if not asks:
            return []
        try:
            # What does not wait for an answer travels together: in two turns, all in all.
            async with (
                self._connections.connection(timeout=PATIENCE) as conn,
                conn.pipeline(),
                conn.transaction(),
            ):
                await conn.execute(f"set local lock_timeout = '{PATIENCE:g}s'".encode())
                return await self._exchange(conn, asks)
        except AWAY as error:
            raise LeasesAway(str(error)) from error

    async def recall(self, owners: Sequence[str]) -> None:
        try:
            async with self._connections.connection(timeout=PATIENCE) as conn:
                for owner in owners:
                    await conn.execute("select pg_notify(%s, %s)", (CHANNEL, owner[:7000]))
        except AWAY as error:
            raise LeasesAway(str(error)) from error

    async def keep_forgetting(self) -> None:
        """For ever: windows that ended long ago, and what processes said that are gone."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                async with self._connections.connection() as conn:
                    await conn.execute(_FORGET)
                    await conn.execute(_FORGET_SAID, (REMEMBERED,))
            except Exception as error:
                # Whatever it was, the next time may find it mended.
                note_fault(log, error, "old budgets are kept for now")

    async def _exchange(self, conn: Connection, asks: Sequence[Ask]) -> list[Grant]:
        pools, leases, now = await _look(conn, asks)
        missing = [ask.limit for ask in asks if ask.limit.place not in pools]
        if missing:
            new = [_named(limit.place, most=limit.most) for limit in missing]
            await conn.execute(_ADD, (_encode(new),))
            pools, leases, now = await _look(conn, asks)
        grants: list[Grant] = []
        kept: list[dict[str, Any]] = []
        lent: list[dict[str, Any]] = []
        ended: list[dict[str, Any]] = []
        for ask in asks:
            place = ask.limit.place
            before = leases.get(place, {})
            pool, after, grant = exchange(
                pools.get(place) or new_pool(ask.limit, now),
                before,
                ask,
                me=self._instance,
                now=now,
                warn_at=self._warn_at,
            )
            kept.append(_kept(place, pool))
            lent += [
                _named(place, instance=name, **asdict(lease))
                for name, lease in after.items()
                if lease != before.get(name)
            ]
            ended += [_named(place, instance=name) for name in before.keys() - after.keys()]
            grants.append(grant)
        said = {"pools": _encode(kept), "leases": _encode(lent)}
        await conn.execute(_KEEP, said)
        if ended:
            await conn.execute(_END, (_encode(ended),))
        return grants


async def refund(conn: Connection, amounts: Mapping[Place, int]) -> None:
    """So much that was used of these pools was not: it is there again, in the caller's transaction.
    Of a pool no more than was used of it, and nothing where there is none."""
    rows = _encode([_named(place, nanos=amount) for place, amount in sorted(amounts.items())])
    await conn.execute(_LOCK, (rows,))
    await conn.execute(_REFUND, (rows,))


async def keep_giving_back(dsn: str, limiter: Limiter) -> None:
    """For ever: what another process asks for and this one does not need."""
    async for owner in listen(dsn, CHANNEL):
        if owner:
            await limiter.give_back([owner])


def _named(place: Place, **more: Any) -> dict[str, Any]:
    owner, name, begins = place
    return {"owner": owner, "name": name, "begins": begins, **more}


def _kept(place: Place, pool: Pool) -> dict[str, Any]:
    return _named(
        place, most=pool.most, rest=pool.rest, at=pool.at, used=pool.used, warned=pool.warned
    )


def _encode(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON: one text costs a fraction of an array per column."""
    return msgspec.json.encode(rows).decode()


async def _look(
    conn: Connection, asks: Sequence[Ask]
) -> tuple[dict[Place, Pool], dict[Place, dict[str, Lease]], float]:
    """The pools, locked, their leases, and the time: read once the locks are held, by a statement
    of its own, so that what another process has done until then is seen, and lies before."""
    places = _encode([_named(ask.limit.place) for ask in asks])
    locked = await conn.execute(_LOCK, (places,))
    lent = await conn.execute(_LEASES, (places,))
    pools = {
        (owner, name, begins): Pool(most, rest, at, used, warned)
        for owner, name, begins, most, rest, at, used, warned in await locked.fetchall()
    }
    leases: dict[Place, dict[str, Lease]] = {}
    rows = await lent.fetchall()
    for _, owner, name, begins, instance, amount, until, report, warned in rows:
        if instance is not None:
            lease = Lease(amount, until, report, warned)
            leases.setdefault((owner, name, begins), {})[instance] = lease
    return pools, leases, rows[0][0]
