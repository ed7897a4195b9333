"""The keys and tenants that are stored, held in memory and brought up to date when they change."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

import msgspec
import psycopg

from liveweights.meter.key_rows import read_sealed
from liveweights.meter.keys import Keys
from liveweights.meter.tenants import Tenant, read_tenants
from liveweights.store.database import Connection, Pool, listen
from liveweights.store.faults import AWAY

log = logging.getLogger(__name__)

CHANNEL = "liveweights_keys"
REFRESH_SECONDS = 30.0
"""After so long all is read again, should a connection have died without a word."""


RETRY_SECONDS = 0.5


class Directory:
    """Keeps ``keys`` and ``tenants`` as the database has them; use as ``async with``.

    Once entered, everything has been read. A change is heard of at once (NOTIFY), so that a key
    which is revoked opens nothing more within a second. While the database is away, what was last
    known holds. A key whose row cannot be read opens nothing; of such a tenant what was last known
    holds, and where nothing is, its keys open nothing.
    """

    def __init__(self, pool: Pool, dsn: str, keys: Keys) -> None:
        self.keys = keys
        self.tenants: dict[str, Tenant] = {}
        self._pool = pool
        self._dsn = dsn
        self._reading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._read("")
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._refresh())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def find_tenant(self, name: str) -> Tenant | None:
        """None for one that is not stored."""
        return self.tenants.get(name)

    async def _listen(self) -> None:
        async for notice in listen(self._dsn, CHANNEL):
            await self._read_again(notice)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self._read_again("")

    async def _read_again(self, notice: str) -> None:
        while True:
            try:
                await self._read(notice)
                return
            except AWAY as error:
                log.warning("keys and tenants cannot be read again: %s", error)
                notice = ""
                await asyncio.sleep(RETRY_SECONDS)
            except psycopg.Error:
                # Whatever it was, the next change has to be heard, and all is read again anyway.
                log.exception("keys and tenants cannot be read")
                return

    async def _read(self, notice: str) -> None:
        """What ``key ID`` or ``tenant NAME`` says has changed; everything for an empty one."""
        kind, _, name = notice.partition(" ")
        # One after the other: what was read before a change must not replace what was read after.
        async with self._reading, self._pool.connection() as conn:
            if kind == "key":
                self.keys.update([name], await read_sealed(conn, [name], unreadable=_tell_of_key))
            elif kind == "tenant":
                await self._read_tenants(conn, [name])
            else:
                await self._read_tenants(conn, None)
                self.keys.replace(await read_sealed(conn, unreadable=_tell_of_key))

    async def _read_tenants(self, conn: Connection, names: list[str] | None) -> None:
        lost: list[str] = []

        def tell(name: str, error: msgspec.ValidationError) -> None:
            lost.append(name)
            if name in self.tenants:
                log.error("the tenant %s is taken as it was, it cannot be read: %s", name, error)
            else:
                log.error("keys of the tenant %s open nothing, it cannot be read: %s", name, error)

        found = {one.name: one for one in await read_tenants(conn, names, unreadable=tell)}
        kept = {name: self.tenants[name] for name in lost if name in self.tenants}
        others = self.tenants if names is not None else {}
        closed = self.keys.closed - set(names) if names is not None else frozenset[str]()
        self.keys.closed = closed | (set(lost) - kept.keys())
        self.tenants = others | kept | found


def _tell_of_key(id: str, error: msgspec.ValidationError) -> None:
    log.error("the key %s opens nothing, its row cannot be read: %s", id, error)
