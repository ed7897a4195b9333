"""What keeps databases within their limits, and finishes what others have left unfinished."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from liveweights.agentdb import commons, lifecycle, roles
from liveweights.agentdb.commons import Commons, Disk
from liveweights.agentdb.rows import COLUMNS, Database, Level, State
from liveweights.agentdb.settings import MIB
from liveweights.store.database import Connection

log = logging.getLogger(__name__)

FAR_OVER = 1.25
"""Times its limit at which a database is closed. Between the limit and there, only functions and
triggers that its owner made with his own rights can still write."""
GROWTH = MIB
"""Bytes between two looks from which a database counts as growing where the disk is scarce."""
DISK_REASON = "the disk is nearly full, and it was growing"
RETIRED = "roles of databases that are gone"


@dataclass(frozen=True, slots=True)
class Sight:
    """A database as the minder finds it, used at least until now if ``active`` sessions run a
    query. ``admits`` is None when Postgres has no such database.

    ``size`` is in bytes, with the temporary files of its sessions; ``growth`` is since the last
    look.
    """

    database: Database
    size: int
    growth: int
    sessions: int
    active: int
    admits: bool | None
    transactions: int

    @property
    def consistent(self) -> bool:
        """Whether Postgres agrees with the row. One that is being deleted goes last."""
        if self.database.state is State.DELETING:
            return False
        expected = self.database.admits
        return self.admits == expected and (expected or not self.sessions)


def level_of(size: int, limit: int) -> Level:
    if size > FAR_OVER * limit:
        return Level.CLOSED
    return Level.REDUCED if size > limit else Level.OPEN


def last_use(
    used_at: datetime, active_at: datetime | None, now: datetime, *, in_use: bool
) -> datetime:
    """When a database was used last: known to be so at ``used_at``, by an open session at
    ``active_at``, and ``in_use`` where a query runs or somebody connected since the last look."""
    return max(used_at, active_at or used_at, now if in_use else used_at)


class Wanted(NamedTuple):
    """The state and level that a database should have, and why if it is closed."""

    state: State
    level: Level
    reason: str


def judge(sight: Sight, shared: Commons) -> tuple[Level, str]:
    """The level that a database's size, and what it does to all others, leave it; and why."""
    database = sight.database
    if reason := shared.blamed.get(database.id):
        return Level.CLOSED, reason
    if shared.disk is Disk.SCARCE and sight.growth > GROWTH:
        return Level.CLOSED, DISK_REASON
    if shared.disk is not Disk.AMPLE and database.reason == DISK_REASON:
        return Level.CLOSED, DISK_REASON
    level = level_of(sight.size, database.size_limit)
    if level is not Level.CLOSED:
        return level, ""
    return level, (
        f"it has {sight.size / MIB:.0f} MiB, far more than its limit of "
        f"{database.size_limit / MIB:.0f} MiB"
    )


def wanted(sight: Sight, now: datetime, shared: Commons) -> Wanted:
    """What a database should be, if nobody else is working on it."""
    database = sight.database
    unfinished = database.state in (State.CREATING, State.DELETING) or sight.admits is None
    expired = database.expires_at is not None and database.expires_at <= now
    if unfinished or expired:
        return Wanted(State.DELETING, database.level, database.reason)
    if database.state is State.FROZEN:
        return Wanted(database.state, database.level, database.reason)
    level, reason = judge(sight, shared)
    if database.state is State.PAUSED:
        return Wanted(database.state, level, reason)
    idle = not sight.active and now - database.used_at > timedelta(seconds=database.idle)
    return Wanted(State.PAUSED if idle else State.READY, level, reason)


class Minder:
    """Looks at all databases again and again, through one connection as superuser.

    ``folder`` is on their disk, of which ``kept`` bytes are kept free.
    """

    def __init__(self, folder: Path, kept: int) -> None:
        self._folder = folder
        self._kept = kept
        self._transactions: dict[str, int] = {}
        self._connected: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._errors: dict[str, str] = {}

    async def sweep(self, conn: Connection) -> int:
        """Look once, and do what is needed. Gives the number of databases that are open."""
        shared = await commons.look(conn, self._folder, self._kept)
        sights, now = await self._look(conn)
        for sight in sights:
            mind = self._mind(conn, sight, now, shared)
            await self._try(conn, sight.database.id, mind)
        seen = {sight.database.id: sight for sight in sights}
        self._sizes = {identifier: sight.size for identifier, sight in seen.items()}
        self._errors = {k: v for k, v in self._errors.items() if k in {*seen, RETIRED}}
        await self._try(conn, RETIRED, roles.drop_retired(conn))
        return sum(sight.database.state is State.READY for sight in sights)

    async def _try(self, conn: Connection, name: str, work: Coroutine[Any, Any, None]) -> None:
        """One database that cannot be helped now must not keep the others waiting."""
        try:
            await work
        except (psycopg.Error, ArithmeticError) as error:
            if conn.broken:
                raise
            if self._errors.get(name) != str(error):  # not again and again
                log.warning("%s: %s; it is tried again", name, error)
            self._errors[name] = str(error)
        else:
            self._errors.pop(name, None)

    async def _mind(self, conn: Connection, sight: Sight, now: datetime, shared: Commons) -> None:
        decision = wanted(sight, now, shared)
        same = decision[:2] == (sight.database.state, sight.database.level)
        if not same or not sight.consistent:
            await self._correct(conn, sight.database.id, shared)

    async def _correct(self, conn: Connection, identifier: str, shared: Commons) -> None:
        async with lifecycle.locked_if_free(conn, identifier) as free:
            if not free:
                return
            sights, now = await self._look(conn, identifier)
            for sight in sights:
                state, level, reason = wanted(sight, now, shared)
                if state is State.DELETING:
                    await lifecycle.remove(conn, identifier)
                    continue
                if level is Level.CLOSED and reason != sight.database.reason:
                    log.warning("%s is closed: %s", identifier, reason)
                await lifecycle.change(
                    conn, sight.database, state=state, level=level, reason=reason
                )

    async def _look(
        self, conn: Connection, identifier: str | None = None
    ) -> tuple[list[Sight], datetime]:
        """All databases, or one, and when each was used. Only those with sessions or transactions
        since the last time are measured."""
        columns = ", ".join(f"d.{name}" for name in COLUMNS.split(", "))
        query = (
            f"select {columns}, p.datallowconn, coalesce(a.sessions, 0) as sessions,"
            " coalesce(a.active, 0) as active, a.active_at, clock_timestamp() as now,"
            " coalesce(s.xact_commit + s.xact_rollback, 0) as transactions,"
            " coalesce(s.sessions, 0) as connected,"
            " coalesce(t.size, 0)::bigint as temporary"
            " from databases d left join pg_database p on p.datname = d.id"
            " left join pg_stat_database s on s.datid = p.oid"
            " left join (select datid, count(*) as sessions, max(state_change) as active_at,"
            " count(*) filter (where state in ('active', 'fastpath function call')) as active"
            " from pg_stat_activity where backend_type = 'client backend' group by datid) a"
            " on a.datid = p.oid"
            " left join (select datid, sum(f.size) as size from pg_ls_tmpdir() f"
            " join pg_stat_activity b"
            " on b.pid = substring(f.name from '^pgsql_tmp([0-9]+)[.]')::int"
            " group by datid) t on t.datid = p.oid where %s::text is null or d.id = %s"
        )
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), (identifier, identifier))
            rows: list[dict[str, Any]] = await cursor.fetchall()
        if not rows:
            return [], datetime.min
        used = [
            row["id"]
            for row in rows
            if row["sessions"] or row["transactions"] != self._transactions.get(row["id"])
        ]
        await self._note_use(conn, rows)
        measured: dict[str, int] = {row["id"]: row["size"] for row in rows}
        sizes = measured | await self._measure(conn, used)
        names = Database.__dataclass_fields__
        sights = [
            Sight(
                Database(**{name: row[name] for name in names}),
                size=(size := sizes[row["id"]] + row["temporary"]),
                growth=size - self._sizes.get(row["id"], size),
                sessions=row["sessions"],
                active=row["active"],
                admits=row["datallowconn"],
                transactions=row["transactions"],
            )
            for row in rows
        ]
        self._transactions |= {row["id"]: row["transactions"] for row in rows}
        self._connected |= {row["id"]: row["connected"] for row in rows}
        if identifier is None:
            seen = {row["id"] for row in rows}
            self._transactions = {k: v for k, v in self._transactions.items() if k in seen}
            self._connected = {k: v for k, v in self._connected.items() if k in seen}
        return sights, rows[0]["now"]

    async def _note_use(self, conn: Connection, rows: list[dict[str, Any]]) -> None:
        """Give the rows the times at which they were used, and keep those: of a session that has
        ended nothing else tells. Transactions do not count, since autovacuum has some, too."""
        later: dict[str, datetime] = {}
        for row in rows:
            before = self._connected.get(row["id"], row["connected"])
            used_at = last_use(
                row["used_at"],
                row["active_at"],
                row["now"],
                in_use=row["active"] > 0 or row["connected"] > before,
            )
            if used_at > row["used_at"]:
                row["used_at"] = later[row["id"]] = used_at
        if later:
            await conn.execute(
                "update databases d set used_at = greatest(d.used_at, n.used_at)"
                " from unnest(%s::text[], %s::timestamptz[]) as n(id, used_at) where d.id = n.id",
                (list(later), list(later.values())),
            )

    async def _measure(self, conn: Connection, identifiers: list[str]) -> dict[str, int]:
        """Sizes in bytes; those that have changed are kept in the rows."""
        if not identifiers:
            return {}
        cursor = await conn.execute(
            "select datname, size from pg_database, pg_database_size(oid) size"
            " where datname = any(%s) and size is not null",  # null: its files have just gone
            (identifiers,),
        )
        sizes: dict[str, int] = dict(await cursor.fetchall())
        await conn.execute(
            "update databases d set size = n.size from unnest(%s::text[], %s::bigint[])"
            " as n(id, size) where d.id = n.id and d.size <> n.size",
            (list(sizes), list(sizes.values())),
        )
        return sizes
