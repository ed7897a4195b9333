"""The keys and tenants that are stored, held in memory and brought up to date when they change."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

import psycopg

from liveweights.meter.key_rows import read_sealed
from liveweights.meter.keys import Keys
from liveweights.meter.tenants import Tenant, read_tenants
from liveweights.store.database import Connection, Pool, listen

log = logging.getLogger(__name__)

CHANNEL = "liveweights_keys"
AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
REFRESH_SECONDS = 30.0
"""After so long all is read again, should a connection have died without a word."""


RETRY_SECONDS = 0.5


class Directory:
    """Keeps ``keys`` and ``tenants`` as the database has them; use as ``async with``.

    Once entered, everything has been read. A change is heard of at once (NOTIFY), so that a key
    which is revoked opens nothing more within a second. While the database is away, what was last
    known holds.
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

    async def _read(self, notice: str) -> None:
        """What ``key ID`` or ``tenant NAME`` says has changed; everything for an empty one."""
        kind, _, name = notice.partition(" ")
        # One after the other: what was read before a change must not replace what was read after.
        async with self._reading, self._pool.connection() as conn:
            if kind == "key":
                self.keys.update([name], await read_sealed(conn, [name]))
            elif kind == "tenant":
                await self._read_tenants(conn, [name])
            else:
                await self._read_tenants(conn, None)
                self.keys.replace(await read_sealed(conn))

    async def _read_tenants(self, conn: Connection, names: list[str] | None) -> None:
        found = {one.name: one for one in await read_tenants(conn, names)}
        self.tenants = found if names is None else self.tenants | found
