"""The process that keeps the server of the databases, and the minder in it.

There is one for each folder. It is started by whoever needs a database first, and ends when none
has been open for a while. Run as ``python -m liveweights.agentdb.host FOLDER SETTINGS-AS-JSON``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from liveweights import machine
from liveweights.agentdb import holders, roles
from liveweights.agentdb.commons import QUEUE_PAGES
from liveweights.agentdb.endpoint import (
    ADDRESS,
    Endpoint,
    claim,
    make_secret,
    superuser_password,
    write_endpoint,
)
from liveweights.agentdb.errors import HostError
from liveweights.agentdb.minder import Minder
from liveweights.agentdb.settings import MIB, DatabaseSettings
from liveweights.file_modes import close_files, make_home, write_back, write_durably
from liveweights.stop_signals import on_stop
from liveweights.store.access import Access
from liveweights.store.database import Connection
from liveweights.store.embedded import EmbeddedPostgres, port_in_use
from liveweights.store.migrate import migrate, packaged
from liveweights.store.place import root_of
from liveweights.terminal import start_logging

BASE = "base"
"""The empty database that all new ones are copies of."""
CLIENT = "liveweights databases"
"""How the platform's own connections call themselves."""
SHARED_BUFFERS_MB = 128
LOCK_SECONDS = 10.0
"""For which the minder waits for one lock: then the next database's turn comes."""

log = logging.getLogger(__name__)


def server_settings(settings: DatabaseSettings) -> dict[str, str]:
    """What Postgres is told: nothing that a database does may depend on another's settings."""
    durable = "on" if settings.durable else "off"
    return {
        "shared_buffers": f"{SHARED_BUFFERS_MB}MB",
        "max_connections": str(settings.connections + 20),
        "superuser_reserved_connections": "20",
        "password_encryption": "scram-sha-256",
        "fsync": durable,
        "full_page_writes": durable,
        "wal_level": "minimal",  # there is no replica, and loading tables logs less
        "max_wal_senders": "0",
        "max_worker_processes": "0",  # no parallel queries: one connection, one process
        "io_method": "sync",
        "max_notify_queue_pages": str(QUEUE_PAGES),
        "temp_file_limit": f"{settings.max_size_mb}MB",
        # With hundreds of databases the default visits several each second for nothing.
        "autovacuum_naptime": "5min",
    }


def process_memory(settings: DatabaseSettings) -> int | None:
    """Bytes of address space for one connection, what all share included."""
    if not settings.session_memory_mb or not machine.LINUX:
        return None
    return (settings.session_memory_mb + SHARED_BUFFERS_MB) * MIB


class Host:
    """Runs the server of ``folder`` until ``stop``, or until nobody needs it."""

    def __init__(self, folder: Path, settings: DatabaseSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.stopping = asyncio.Event()

    async def run(self) -> bool:
        """Whether it was the host; False at once if another process is.

        Raises HostError, ServerError, PlaceError, NoBinaries.
        """
        make_home(self.folder)
        lock = await self._claim()
        if lock is None:
            return False
        with lock:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            self._check_boot()
            server = self._server()
            try:
                await self._start(server)
                await self._mind(server)
            finally:
                write_endpoint(self.folder, None)
                await asyncio.to_thread(server.stop)
                files = root_of(self.folder / "postgres")
                if not self.settings.durable and files.exists():
                    await asyncio.to_thread(write_back, files)
                (self.folder / "boot").unlink(missing_ok=True)
        return True

    async def _claim(self) -> IO[str] | None:
        # Those who ask whether there is a host hold the lock for an instant.
        for _ in range(40):
            if lock := claim(self.folder):
                return lock
            await asyncio.sleep(0.05)
        return None

    def _server(self) -> EmbeddedPostgres:
        self._secret = make_secret(self.folder)
        self._port = port_in_use(self.folder / "postgres") or self._free_port()
        return EmbeddedPostgres(
            self.folder / "postgres",
            settings=server_settings(self.settings),
            access=Access(
                port=self._port,
                addresses=ADDRESS,
                open_socket=True,
                password=superuser_password(self._secret),
                rules=roles.HBA,
            ),
            process_memory=process_memory(self.settings),
        )

    def _free_port(self) -> int:
        """The port of the last time if it is free, so that addresses stay true."""
        path = self.folder / "port"
        wanted = self.settings.port or (int(path.read_text()) if path.exists() else 0)
        for port in (wanted, 0):
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((ADDRESS, port))
                bound: int = probe.getsockname()[1]
                path.write_text(f"{bound}\n")
                return bound
            if self.settings.port:
                break
        raise HostError(f"port {wanted} is taken; set databases.port to another, or to 0")

    def _check_boot(self) -> None:
        """Without fsync, what a crash of the machine leaves behind may be anything."""
        path = self.folder / "boot"
        boot = machine.boot_id()
        if path.exists() and path.read_text() != boot:
            raise HostError(
                f"the machine went down while databases in {self.folder} were open, and they were "
                "not durable: they cannot be trusted. Remove them with `liveweights db stop "
                "--destroy`; set databases.durable to keep such databases"
            )
        if not self.settings.durable:
            write_durably(path, boot.encode())

    async def _start(self, server: EmbeddedPostgres) -> None:
        write_endpoint(self.folder, None)
        await asyncio.to_thread(server.start)
        if strays := await asyncio.to_thread(server.remove_strays):
            log.info("removed %d databases that a crash left half-made", strays)
        await asyncio.to_thread(prepare, server.dsn)
        sockets = server.open_socket_folder
        assert sockets is not None
        private = conninfo_to_dict(server.dsn)["host"]
        reflink = await asyncio.to_thread(server.clones_files)
        log.info("Postgres %s serves databases on port %d", server.pid, self._port)
        write_endpoint(
            self.folder,
            Endpoint(self._port, str(private), str(sockets), reflink, self.settings.durable),
        )

    async def _mind(self, server: EmbeddedPostgres) -> None:
        self._needed = time.monotonic()
        while not self.stopping.is_set():
            try:
                if not server.is_running():
                    log.warning("Postgres has died, or was told to; it is started again")
                    await self._start(server)
                async with (
                    await _connect(server.dsn, lock_timeout=LOCK_SECONDS) as conn,
                    await _connect(server.dsn) as second,
                ):
                    await _until_first(
                        self._sweep(server, conn),
                        holders.end_always(second),
                        self._wait_for_stop(),
                    )
            except psycopg.Error as error:
                log.warning("the minder begins again: %s", error)
                await self._pause()

    async def _sweep(self, server: EmbeddedPostgres, conn: Connection) -> None:
        minder = Minder(server.folder_on_disk, self.settings.free_disk_mb * MIB)
        # Told politely to end, it waits for this connection too.
        while server.is_running():
            await asyncio.to_thread(server.trim_log)
            if await minder.sweep(conn) or await _clients(conn):
                self._needed = time.monotonic()
            elif time.monotonic() - self._needed > self.settings.linger:
                self.stopping.set()
            await self._pause()

    async def _wait_for_stop(self) -> None:
        await self.stopping.wait()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.interval):
                await self.stopping.wait()


async def _connect(dsn: str, *, lock_timeout: float = 0.0) -> Connection:
    """As superuser; a lock is waited for ``lock_timeout`` seconds at most, 0 for ever."""
    options = f"-c lock_timeout={lock_timeout:g}s"
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, options=options)


async def _until_first(*works: Coroutine[Any, Any, None]) -> None:
    """Until one has ended; the others are cancelled. Raises what that one raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _clients(conn: Connection) -> int:
    """How many connections other processes of the platform hold."""
    query = "select count(*) from pg_stat_activity where application_name = %s"
    row = await (await conn.execute(query, (CLIENT,))).fetchone()
    return row[0] if row else 0


def prepare(dsn: str) -> None:
    """Make the control tables, the shared roles and the empty database, where they are missing."""
    migrate(dsn, packaged("liveweights.agentdb"))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(roles.SHARED.encode())
        if conn.execute("select 1 from pg_database where datname = %s", (BASE,)).fetchone():
            return
        # Made under another name, so that dying half-way leaves nothing that is used.
        conn.execute("drop database if exists base_draft with (force)")
        conn.execute("create database base_draft template template0")
        conn.execute("revoke all on database base_draft from public")
        with psycopg.connect(make_conninfo(dsn, dbname="base_draft"), autocommit=True) as draft:
            draft.execute(roles.BASE.encode())
        conn.execute("alter database base_draft allow_connections false is_template true")
        conn.execute(f"alter database base_draft rename to {BASE}".encode())


async def _main(folder: Path, settings: DatabaseSettings) -> None:
    host = Host(folder, settings)
    on_stop(host.stopping.set)
    await host.run()


if __name__ == "__main__":
    close_files()
    start_logging("%(asctime)s %(message)s")
    asyncio.run(_main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=DatabaseSettings)))
