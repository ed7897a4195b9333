"""Databases for agents, as Python calls: what the commands, the tools and the suites use."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import msgspec
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolClosed, PoolTimeout

from liveweights import bounds
from liveweights.agentdb import clone, lifecycle, roles, session
from liveweights.agentdb.attach import attach
from liveweights.agentdb.endpoint import ADDRESS, Endpoint, has_host, read_secret
from liveweights.agentdb.errors import HostError, NoDatabase, Refused
from liveweights.agentdb.host import BASE, CLIENT
from liveweights.agentdb.rows import OPERATOR, Database, Level, State, find, read
from liveweights.agentdb.settings import MIB, DatabaseSettings
from liveweights.store.database import Connection, Pool
from liveweights.store.place import root_of
from liveweights.store.results import Result

PATIENCE = 300.0
"""Seconds that a call waits for a connection to the control database."""
LOOK_AGAIN = 5.0
"""Seconds after which it is seen whether there still is a host."""
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
BOUNDS: Mapping[str, tuple[float, float]] = {
    "ttl": (0, bounds.SECONDS),
    "idle": (bounds.LEAST_SECONDS, bounds.SECONDS),
    "size_mb": (16, bounds.MIB),
    "rows": (1, bounds.COUNT),
    "seconds": (bounds.LEAST_SECONDS, bounds.SECONDS),
}
"""Least and largest of what a caller may ask for, whoever it is."""


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect: over TCP on this machine, or through a socket in the folder ``sockets``.

    A sandbox without a network gets ``sockets`` mounted, at the same place or at another.
    """

    database: str
    user: str
    password: str
    port: int
    sockets: str

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@{ADDRESS}:{self.port}/{self.database}"

    def environment(self, host: str = ADDRESS) -> dict[str, str]:
        """What psql, libpq and most drivers take their defaults from."""
        return {
            "PGHOST": host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.database,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }

    def dsn(self, host: str = ADDRESS) -> str:
        """For ``host``, which may be the folder of the socket."""
        return make_conninfo(
            host=host,
            port=self.port,
            dbname=self.database,
            user=self.user,
            password=self.password,
        )


class Databases:
    """The databases of one owner on the server of ``folder``. Use as an async context manager.

    The server is started when it is not running, and outlives this object; so do the databases,
    until they expire. An owner sees its own databases, and may fork those and what the operator has
    frozen. Only the owner ``operator`` lists everybody's, changes limits, and may exceed those that
    ``settings`` sets for agents. ``answer`` is how many bytes of what statements give are kept,
    ``connections`` how many it has to the control database at most.

    Methods raise NoDatabase, Refused, HostError; ``sql`` also psycopg.Error.
    """

    def __init__(
        self,
        folder: Path,
        settings: DatabaseSettings | None = None,
        *,
        owner: str = OPERATOR,
        answer: int = session.ANSWER,
        connections: int = 8,
    ) -> None:
        if not NAME.fullmatch(owner):
            raise Refused(f"{owner!r} cannot be an owner: use small letters, digits, _ . and -")
        self.folder = folder.absolute()
        self.settings = checked(settings or DatabaseSettings())
        self.owner = owner
        self.answer = answer
        self.connections = connections
        self._endpoint: Endpoint | None = None
        self._pool: Pool | None = None
        self._secret = ""
        self._attaching = asyncio.Lock()

    async def __aenter__(self) -> Databases:
        await self._attach()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def create(
        self,
        name: str,
        *,
        script: str = "",
        ttl: float | None = None,
        size_mb: int | None = None,
        idle: float | None = None,
    ) -> Database:
        """An empty database, or what ``script`` makes of it.

        A script that fails leaves no database. ``ttl`` and ``idle`` are seconds; 0 as ``ttl``
        keeps it until it is deleted.
        """
        made = await self._make(name, None, ttl=ttl, size_mb=size_mb, idle=idle)
        if script:
            try:
                await self.sql(name, script)
            except BaseException:
                await asyncio.shield(self.delete(name))
                raise
        return made

    async def fork(
        self,
        source: str,
        name: str,
        *,
        ttl: float | None = None,
        size_mb: int | None = None,
        idle: float | None = None,
    ) -> Database:
        """A copy of ``source`` as it is now. A frozen one is not disturbed; the sessions of one
        that is open are ended, and may connect again when the copy is made."""
        return await self._make(name, source, ttl=ttl, size_mb=size_mb, idle=idle)

    async def freeze(self, name: str) -> Database:
        """Nobody can connect to it or change it any more: a template, forked without waiting."""
        async with self._connection() as conn, self._locked(conn, name) as database:
            if database.level is not Level.OPEN:
                raise Refused(f"{name} is over its size limit; give it a larger one first")
            if database.state is State.FROZEN:
                return database
            return await lifecycle.change(conn, database, state=State.FROZEN)

    async def list(self, *, everyone: bool = False) -> list[Database]:
        """The owner's databases, oldest first; the operator may ask for everyone's."""
        async with self._connection() as conn:
            if everyone and self.owner == OPERATOR:
                return await read(conn, "state <> 'deleting'")
            return await read(conn, "owner = %s and state <> 'deleting'", self.owner)

    async def connect(self, name: str, *, read_only: bool = False) -> Address:
        """How to connect; a paused database is opened again."""
        async with self._connection() as conn, self._locked(conn, name) as database:
            if database.state is State.FROZEN:
                raise Refused(f"{name} is frozen; fork it, and connect to the fork")
            if database.level is Level.CLOSED:
                raise Refused(
                    f"{name} is closed: {database.reason}; delete it, or let the operator make room"
                )
            await roles.set_passwords(conn, database.id, self._secret)
            await lifecycle.change(conn, database, state=State.READY, used=True)
        return self._address(database, read_only)

    async def sql(
        self,
        name: str,
        text: str,
        *,
        read_only: bool = False,
        rows: int | None = None,
        seconds: float | None = None,
    ) -> list[Result]:
        """Run statements as the database's own role: in a session of their own, in one transaction
        unless they say otherwise. A paused database is opened again."""
        check_numbers(rows=rows, seconds=seconds)
        address = await self.connect(name, read_only=read_only)
        return await session.run(
            address.dsn(address.sockets),
            text,
            rows=rows or self.settings.rows,
            seconds=seconds or self.settings.statement_seconds,
            answer=self.answer,
        )

    async def pause(self, name: str) -> Database:
        """End its sessions and let nobody connect until ``connect``. Again is harmless."""
        async with self._connection() as conn, self._locked(conn, name) as database:
            if database.state is State.FROZEN:
                return database
            return await lifecycle.change(conn, database, state=State.PAUSED)

    async def limit(
        self,
        name: str,
        *,
        owner: str = OPERATOR,
        ttl: float | None = None,
        size_mb: int | None = None,
    ) -> Database:
        """Change the limits of anybody's database, ``ttl`` counted from now. For the operator."""
        if self.owner != OPERATOR:
            raise Refused("only the operator changes limits")
        check_numbers(ttl=ttl, size_mb=size_mb)
        async with self._connection() as conn, self._locked(conn, name, owner) as database:
            expires_at = database.expires_at if ttl is None else _expiry(ttl)
            size_limit = database.size_limit if size_mb is None else size_mb * MIB
            await conn.execute(
                "update databases set expires_at = %s, size_limit = %s where id = %s",
                (expires_at, size_limit, database.id),
            )
            changed = replace(database, expires_at=expires_at, size_limit=size_limit)
            return await lifecycle.change(conn, changed)

    async def delete(self, name: str) -> bool:
        """Remove it with everything in it. False if there was none: again is harmless."""
        try:
            async with self._connection() as conn, self._locked(conn, name) as database:
                await lifecycle.remove(conn, database.id)
        except NoDatabase:
            return False
        return True

    @asynccontextmanager
    async def temporary(
        self, source: str | None = None, *, ttl: float = 3600.0, size_mb: int | None = None
    ) -> AsyncGenerator[tuple[Database, Address]]:
        """A fork of ``source``, or an empty database, for as long as the block lasts.

        Should this process die, it is deleted after ``ttl`` seconds.
        """
        name = f"tmp-{secrets.token_hex(6)}"
        database = await self._make(name, source, ttl=ttl, size_mb=size_mb, idle=None)
        try:
            yield database, self._address(database, read_only=False)
        finally:
            await asyncio.shield(self.delete(name))

    async def _make(
        self,
        name: str,
        source: str | None,
        *,
        ttl: float | None,
        size_mb: int | None,
        idle: float | None,
    ) -> Database:
        if not NAME.fullmatch(name):
            raise Refused(
                f"{name!r} cannot be a name: use up to 63 small letters, digits, _ . and -"
            )
        check_numbers(ttl=ttl, size_mb=size_mb, idle=idle)
        ttl = self.settings.ttl if ttl is None else ttl
        size_mb = size_mb or self.settings.size_mb
        self._check_limits(ttl, size_mb)
        async with self._connection() as conn:
            origin = await self._source(conn, source) if source else None
            identifier = f"db_{secrets.token_hex(6)}"
            async with lifecycle.locked(conn, identifier):
                row = (
                    identifier,
                    self.owner,
                    name,
                    origin.id if origin else None,
                    size_mb * MIB,
                    idle or self.settings.idle,
                    _expiry(ttl),
                )
                await self._note(conn, row)
                try:
                    return await self._fill(conn, identifier, origin, size_mb)
                except BaseException:
                    # What a killed process leaves, the minder removes in the same way.
                    if not conn.broken:
                        await asyncio.shield(lifecycle.remove(conn, identifier))
                    raise

    async def _note(self, conn: Connection, row: tuple[object, ...]) -> None:
        """Give a database that is to be made its row, if there is room for one more."""
        async with conn.transaction():
            # Or two at once would both find room for the last one.
            await conn.execute("select pg_advisory_xact_lock(%s, 0)", (lifecycle.LOCKS + 1,))
            await self._check_room(conn)
            try:
                await conn.execute(
                    "insert into databases (id, owner, name, source, state, size_limit, idle,"
                    " expires_at) values (%s, %s, %s, %s, 'creating', %s, %s, %s)",
                    row,
                )
            except errors.UniqueViolation:
                raise Refused(f"there is a database {row[2]} already") from None

    async def _fill(
        self, conn: Connection, identifier: str, origin: Database | None, size_mb: int
    ) -> Database:
        """Roles, a copy of the source, and only then the right to connect."""
        await roles.create(conn, identifier, self._secret, self.settings.connections_each)
        if origin is None:
            await self._copy(conn, BASE, identifier, size_mb)
        else:
            async with lifecycle.locked(conn, origin.id, shared=origin.state is State.FROZEN):
                now = await lifecycle.reread(conn, origin.id)
                if now is None or now.state in (State.CREATING, State.DELETING):
                    raise NoDatabase(f"{origin.name} has just been deleted")
                if now.admits:
                    await lifecycle.change(conn, now, state=State.PAUSED)
                try:
                    await self._copy(conn, origin.id, identifier, size_mb)
                finally:
                    if now.admits and not conn.broken:
                        await lifecycle.change(conn, now, state=State.READY)
        database = await lifecycle.reread(conn, identifier)
        assert database is not None
        return await lifecycle.change(conn, database, state=State.READY, used=True)

    async def _copy(self, conn: Connection, source: str, target: str, size_mb: int) -> None:
        cursor = await conn.execute("select pg_database_size(%s)", (source,))
        row = await cursor.fetchone()
        assert row is not None
        assert self._endpoint is not None
        size = int(row[0])
        if size > size_mb * MIB:
            raise Refused(
                f"the source has {size / MIB:.0f} MiB, more than the limit of {size_mb} MiB; "
                "ask for a larger size"
            )
        strategy = clone.choose(
            size, reflink=self._endpoint.reflink, durable=self._endpoint.durable
        )
        await clone.copy(conn, source, target, strategy)
        await conn.execute("update databases set size = %s where id = %s", (size, target))

    async def _source(self, conn: Connection, name: str) -> Database:
        """One's own, or a frozen one of the operator."""
        if not NAME.fullmatch(name):
            raise NoDatabase(f"there is no database {name!r} to fork")
        own = await find(conn, self.owner, name)
        if own is not None and own.state is not State.CREATING:
            return own
        shared = await find(conn, OPERATOR, name)
        if shared is not None and shared.state is State.FROZEN:
            return shared
        raise NoDatabase(f"there is no database {name} to fork")

    def _check_limits(self, ttl: float, size_mb: int) -> None:
        if self.owner == OPERATOR:
            return
        most = self.settings
        if not 0 < ttl <= most.max_ttl:
            asked = f"{ttl:g}" if ttl else "for ever"
            raise Refused(f"a database may live at most {most.max_ttl:g} s, not {asked}")
        if size_mb > most.max_size_mb:
            raise Refused(f"a database may have at most {most.max_size_mb} MiB, not {size_mb}")

    async def _check_room(self, conn: Connection) -> None:
        cursor = await conn.execute(
            "select count(*), count(*) filter (where owner = %s) from databases", (self.owner,)
        )
        row = await cursor.fetchone()
        everyone, own = row or (0, 0)
        if everyone >= self.settings.count:
            raise Refused(f"there are {everyone} databases, as many as databases.count allows")
        if self.owner != OPERATOR and own >= self.settings.count_of_agent:
            raise Refused(f"{self.owner} has {own} databases; delete one first")
        files = root_of(self.folder / "postgres")  # they may be on another disk
        free = shutil.disk_usage(files).free // MIB
        if free < self.settings.free_disk_mb:
            raise Refused(
                f"only {free} MiB of disk are free, and databases.free_disk_mb is "
                f"{self.settings.free_disk_mb}; delete databases, or make room"
            )

    def _address(self, database: Database, read_only: bool) -> Address:
        assert self._endpoint is not None
        login = roles.login_of(database.id, read_only=read_only)
        return Address(
            database=database.id,
            user=login,
            password=roles.password_of(self._secret, login),
            port=self._endpoint.port,
            sockets=self._endpoint.sockets,
        )

    @asynccontextmanager
    async def _locked(
        self, conn: Connection, name: str, owner: str | None = None
    ) -> AsyncGenerator[Database]:
        """One's own database, or that of ``owner``, with nobody else at work on it."""
        owner = owner or self.owner
        could_be = NAME.fullmatch(name) and NAME.fullmatch(owner)
        database = await find(conn, owner, name) if could_be else None
        if database is not None:
            async with lifecycle.locked(conn, database.id):
                now = await lifecycle.reread(conn, database.id)
                if now is not None and now.state not in (State.CREATING, State.DELETING):
                    yield now
                    return
        raise NoDatabase(f"{owner} has no database {name if could_be else repr(name)}")

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        """A connection as superuser, to the control database: no other one is ever entered."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pool = await self._attach()
            try:
                conn = await pool.getconn(timeout=LOOK_AGAIN)
                break
            except (PoolTimeout, PoolClosed):
                # All are in use, or the server has gone, and maybe the host that would start it.
                if time.monotonic() > deadline:
                    raise
        try:
            async with conn:
                yield conn
        finally:
            await pool.putconn(conn)

    async def _attach(self) -> Pool:
        """The pool; a host that has died is replaced first. Raises HostError."""
        async with self._attaching:
            for _ in range(3):
                if self._pool is not None and has_host(self.folder):
                    return self._pool
                if self._pool is not None:
                    await self._pool.close()
                    self._pool = None
                self._endpoint = await attach(self.folder, self.settings)
                self._secret = read_secret(self.folder)
                pool = Pool(
                    self._endpoint.superuser(self._secret),
                    min_size=1,
                    max_size=self.connections,
                    open=False,
                    check=Pool.check_connection,
                    reconnect_timeout=4.0,
                    kwargs={"application_name": CLIENT, "autocommit": True},
                )
                try:
                    await pool.open(wait=True, timeout=10.0)
                    self._pool = pool
                except PoolTimeout:  # the host was about to end
                    await pool.close()
            if self._pool is None:
                raise HostError(f"the server of {self.folder} cannot be reached")
            return self._pool


def checked(settings: DatabaseSettings) -> DatabaseSettings:
    """The settings, if they are within their bounds. Raises Refused."""
    try:
        return msgspec.convert(msgspec.to_builtins(settings), DatabaseSettings)
    except msgspec.ValidationError as error:
        raise Refused(f"the settings of the databases: {error}") from error


def check_numbers(**given: float | None) -> None:
    """Raises Refused for one that is out of its bounds, or no number."""
    for name, value in given.items():
        least, most = BOUNDS[name]
        if value is not None and not least <= value <= most:
            raise Refused(f"{name} is {value}; it must be from {least:g} to {most:g}")


def _expiry(ttl: float) -> datetime | None:
    return datetime.now(UTC) + timedelta(seconds=ttl) if ttl else None
