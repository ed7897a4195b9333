"""Whose the objects are that passing requests made at an upstream."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg

from liveweights.record.errors import StoreAway
from liveweights.store.database import Pool
from liveweights.store.faults import Fault, fault_of

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that whoever made an object waits for a database that is away."""
KNOWN = 100_000
"""Objects whose owner is kept in memory, too."""

Key = tuple[str, str]
"""Collection and id."""

INSERT = """
insert into upstream_objects (upstream, kind, id, tenant)
select %(upstream)s, kind, id, tenant
from unnest(%(kinds)s::text[], %(ids)s::text[], %(tenants)s::text[]) as made (kind, id, tenant)
on conflict (upstream, kind, id) do nothing
"""

FIND = """
select kind, id, tenant from upstream_objects
where upstream = %(upstream)s
    and (kind, id) in (select * from unnest(%(kinds)s::text[], %(ids)s::text[]))
"""

DELETE = "delete from upstream_objects where (upstream, kind, id) = (%s, %s, %s)"


class OwnerStore:
    """Of the objects of one upstream; use as ``async with``. An object belongs to the tenant that
    was remembered first.

    While the database is away, what is remembered waits in memory, where it counts, and is written
    when the database is back.
    """

    def __init__(self, pool: Pool, upstream: str) -> None:
        self._pool = pool
        self._upstream = upstream
        self._known: OrderedDict[Key, str] = OrderedDict()
        self._waiting: dict[Key, str] = {}
        self._work = asyncio.Event()
        self._written = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="owner store")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._settled(list(self._waiting))
        if self._waiting:
            log.error("whose %d upstream objects are was not written", len(self._waiting))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def remember(self, tenant: str, made: Sequence[Key]) -> None:
        """Return when it is durable, or when the database did not answer in time: what was made
        stands at the upstream already, and its owner shall have it."""
        new = [key for key in made if key not in self._known]
        self._waiting.update((key, tenant) for key in new if key not in self._waiting)
        if new:
            self._work.set()
            await self._settled(new)

    async def find(self, named: Sequence[Key]) -> dict[Key, str]:
        """The tenants of those that are known. Raises StoreAway."""
        owners: dict[Key, str] = {}
        unknown: list[Key] = []
        for key in named:
            tenant = self._known.get(key) or self._waiting.get(key)
            if tenant is None:
                unknown.append(key)
            else:
                owners[key] = tenant
        if unknown:
            for key, tenant in (await self._read(unknown)).items():
                self._keep(key, tenant)
                owners[key] = tenant
        return owners

    async def forget(self, key: Key) -> None:
        """It was deleted at the upstream. Raises StoreAway."""
        self._waiting.pop(key, None)
        self._known.pop(key, None)
        try:
            async with self._pool.connection() as conn:
                await conn.execute(DELETE, (self._upstream, *key))
        except psycopg.OperationalError as error:
            raise StoreAway(f"the database is away: {error}") from error

    async def _read(self, keys: Sequence[Key]) -> dict[Key, str]:
        kinds, ids = [kind for kind, _ in keys], [id for _, id in keys]
        try:
            async with self._pool.connection() as conn:
                cursor = await conn.execute(
                    FIND, {"upstream": self._upstream, "kinds": kinds, "ids": ids}
                )
                rows = await cursor.fetchall()
        except psycopg.OperationalError as error:
            raise StoreAway(f"the database is away: {error}") from error
        return {(kind, id): tenant for kind, id, tenant in rows}

    async def _run(self) -> None:
        """Write what waits, all of it at once, for as long as it takes."""
        pause = 0.05
        while True:
            await self._work.wait()
            self._work.clear()
            batch = dict(self._waiting)
            if not batch:
                continue
            try:
                await self._write(batch)
            except psycopg.Error as error:
                if fault_of(error) is not Fault.REQUEST:
                    log.warning("whose %d upstream objects are waits: %s", len(batch), error)
                    self._work.set()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 2.0)
                    continue
                log.error("whose %d upstream objects are is not kept: %s", len(batch), error)
            pause = 0.05
            async with self._written:
                for key in batch:
                    self._waiting.pop(key, None)
                self._written.notify_all()

    async def _write(self, batch: dict[Key, str]) -> None:
        keys = sorted(batch)  # in one order for everybody
        async with self._pool.connection() as conn:
            await conn.execute(
                INSERT,
                {
                    "upstream": self._upstream,
                    "kinds": [kind for kind, _ in keys],
                    "ids": [id for _, id in keys],
                    "tenants": [batch[key] for key in keys],
                },
            )
        for key, tenant in (await self._read(keys)).items():
            if tenant != batch[key]:
                log.warning("the upstream gave %s %r to a second tenant: %r", *key, batch[key])
            self._keep(key, tenant)

    async def _settled(self, keys: Sequence[Key]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), self._written:
                await self._written.wait_for(lambda: not any(k in self._waiting for k in keys))

    def _keep(self, key: Key, tenant: str) -> None:
        self._known[key] = tenant
        self._known.move_to_end(key)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
