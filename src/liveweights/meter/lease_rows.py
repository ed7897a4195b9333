"""The pools and leases of all processes, in Postgres."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import psycopg

from liveweights.meter.leases import (
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

log = logging.getLogger(__name__)

CHANNEL = "liveweights_allowances"
PATIENCE = 5.0
"""Seconds to wait for a connection, and for others who have the same pools in hand."""
FORGET_SECONDS = 3600.0
AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
Place = tuple[str, str, datetime]

_LOCK = """
select owner, name, begins, most, rest, extract(epoch from counted_at)::float8, used, warned
from allowances
where (owner, name, begins) in (
    select * from unnest(%(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[]))
order by owner, name, begins for update
"""
_ADD = """
insert into allowances (owner, name, begins, most, rest)
select owner, name, begins, most, most
from unnest(%(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[], %(most)s::bigint[])
    as missing (owner, name, begins, most)
order by owner, name, begins
on conflict do nothing
"""
_LEASES = """
select owner, name, begins, instance, amount, extract(epoch from until)::float8
from allowance_leases
where (owner, name, begins) in (
    select * from unnest(%(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[]))
"""
_KEEP = """
update allowances a set most = c.most, rest = c.rest, counted_at = to_timestamp(c.at),
    used = c.used, warned = c.warned
from unnest(
    %(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[], %(most)s::bigint[],
    %(rest)s::bigint[], %(at)s::float8[], %(used)s::bigint[], %(warned)s::boolean[]
) as c (owner, name, begins, most, rest, at, used, warned)
where (a.owner, a.name, a.begins) = (c.owner, c.name, c.begins)
"""
_LEND = """
insert into allowance_leases (owner, name, begins, instance, amount, until)
select owner, name, begins, %(instance)s, amount, to_timestamp(until)
from unnest(
    %(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[], %(amounts)s::bigint[],
    %(until)s::float8[]
) as lent (owner, name, begins, amount, until)
on conflict (owner, name, begins, instance)
do update set amount = excluded.amount, until = excluded.until
"""
_END = """
delete from allowance_leases l using unnest(
    %(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[], %(instances)s::text[]
) as ended (owner, name, begins, instance)
where (l.owner, l.name, l.begins, l.instance)
    = (ended.owner, ended.name, ended.begins, ended.instance)
"""
_FORGET = (
    "delete from allowances where begins > '1970-01-02' and begins < now() - interval '100 days'"
)


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
        """For ever: windows that ended long ago."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                async with self._connections.connection() as conn:
                    await conn.execute(_FORGET)
            except AWAY as error:
                log.warning("old budgets are kept for now: %s", error)

    async def _exchange(self, conn: Connection, asks: Sequence[Ask]) -> list[Grant]:
        pools, leases, now = await _look(conn, asks)
        missing = [ask.limit for ask in asks if ask.limit.place not in pools]
        if missing:
            most = {"most": [limit.most for limit in missing]}
            await conn.execute(_ADD, _columns([limit.place for limit in missing]) | most)
            pools, leases, now = await _look(conn, asks)
        grants: list[Grant] = []
        kept: list[tuple[Place, Pool]] = []
        lent: list[tuple[Place, Lease]] = []
        ended: list[tuple[Place, str]] = []
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
            kept.append((place, pool))
            if (mine := after.get(self._instance)) is not None:
                lent.append((place, mine))
            ended += [(place, name) for name in before.keys() - after.keys()]
            grants.append(grant)
        await _keep(conn, kept)
        if lent:
            await _lend(conn, lent, self._instance)
        if ended:
            places = _columns([place for place, _ in ended])
            await conn.execute(_END, places | {"instances": [name for _, name in ended]})
        return grants


async def _keep(conn: Connection, kept: Sequence[tuple[Place, Pool]]) -> None:
    pools = [pool for _, pool in kept]
    await conn.execute(
        _KEEP,
        _columns([place for place, _ in kept])
        | {
            "most": [pool.most for pool in pools],
            "rest": [pool.rest for pool in pools],
            "at": [pool.at for pool in pools],
            "used": [pool.used for pool in pools],
            "warned": [pool.warned for pool in pools],
        },
    )


async def _lend(conn: Connection, lent: Sequence[tuple[Place, Lease]], instance: str) -> None:
    leases = [lease for _, lease in lent]
    await conn.execute(
        _LEND,
        _columns([place for place, _ in lent])
        | {
            "instance": instance,
            "amounts": [lease.amount for lease in leases],
            "until": [lease.until for lease in leases],
        },
    )


async def keep_giving_back(dsn: str, limiter: Limiter) -> None:
    """For ever: what another process asks for and this one does not need."""
    async for owner in listen(dsn, CHANNEL):
        if owner:
            await limiter.give_back([owner])


def _columns(places: Sequence[Place]) -> dict[str, list[Any]]:
    return {
        "owners": [owner for owner, _, _ in places],
        "names": [name for _, name, _ in places],
        "begins": [begins for _, _, begins in places],
    }


async def _look(
    conn: Connection, asks: Sequence[Ask]
) -> tuple[dict[Place, Pool], dict[Place, dict[str, Lease]], float]:
    """The pools, locked, their leases, and the time. Leases and time are read once the locks are
    held, each by a statement of its own: what another process has done until then is seen, and
    lies before."""
    places = _columns([ask.limit.place for ask in asks])
    locked = await conn.execute(_LOCK, places)
    lent = await conn.execute(_LEASES, places)
    clock = await conn.execute("select extract(epoch from clock_timestamp())::float8")
    pools = {
        (owner, name, begins): Pool(most, rest, at, used, warned)
        for owner, name, begins, most, rest, at, used, warned in await locked.fetchall()
    }
    leases: dict[Place, dict[str, Lease]] = {}
    for owner, name, begins, instance, amount, until in await lent.fetchall():
        leases.setdefault((owner, name, begins), {})[instance] = Lease(amount, until)
    return pools, leases, cast(tuple[float], await clock.fetchone())[0]
