"""What keeps databases within their limits, and finishes what others have left unfinished."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from liveweights.databases import lifecycle, roles
from liveweights.databases.rows import COLUMNS, Database, Level, State
from liveweights.store.database import Connection

log = logging.getLogger(__name__)

FAR_OVER = 1.25
"""Times its limit at which a database is closed. Between the limit and there, only functions and
triggers that its owner made with his own rights can still write."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A database as the minder finds it. ``admits`` is None when Postgres has no such database."""

    database: Database
    size: int
    sessions: int
    active: int
    active_at: datetime | None
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


def wanted(sight: Sight, now: datetime) -> tuple[State, Level]:
    """The state and level that a database should have, if nobody else is working on it."""
    database = sight.database
    unfinished = database.state in (State.CREATING, State.DELETING) or sight.admits is None
    expired = database.expires_at is not None and database.expires_at <= now
    if unfinished or expired:
        return State.DELETING, database.level
    if database.state is not State.READY:
        return database.state, database.level
    last = max(filter(None, (database.used_at, sight.active_at)))
    idle = not sight.active and now - last > timedelta(seconds=database.idle)
    return State.PAUSED if idle else State.READY, level_of(sight.size, database.size_limit)


class Minder:
    """Looks at all databases again and again, through one connection as superuser."""

    def __init__(self) -> None:
        self._transactions: dict[str, int] = {}

    async def sweep(self, conn: Connection) -> int:
        """Look once, and do what is needed. Gives the number of databases that are open."""
        sights, now = await self._look(conn)
        for sight in sights:
            state, level = wanted(sight, now)
            same = (state, level) == (sight.database.state, sight.database.level)
            if not same or not sight.consistent:
                await self._try_to_correct(conn, sight.database.id)
        await roles.drop_retired(conn)
        return sum(sight.database.state is State.READY for sight in sights)

    async def _try_to_correct(self, conn: Connection, identifier: str) -> None:
        """One database that cannot be helped now must not keep the others waiting."""
        try:
            await self._correct(conn, identifier)
        except psycopg.Error as error:
            if conn.broken:
                raise
            log.warning("%s: %s; it is tried again", identifier, error)

    async def _correct(self, conn: Connection, identifier: str) -> None:
        async with lifecycle.locked_if_free(conn, identifier) as free:
            if not free:
                return
            sights, now = await self._look(conn, identifier)
            for sight in sights:
                state, level = wanted(sight, now)
                if state is State.DELETING:
                    await lifecycle.remove(conn, identifier)
                else:
                    await lifecycle.change(conn, sight.database, state=state, level=level)

    async def _look(
        self, conn: Connection, identifier: str | None = None
    ) -> tuple[list[Sight], datetime]:
        """All databases, or one. Only those that were used since the last time are measured."""
        columns = ", ".join(f"d.{name}" for name in COLUMNS.split(", "))
        query = (
            f"select {columns}, p.datallowconn, coalesce(a.sessions, 0) as sessions,"
            " coalesce(a.active, 0) as active, a.active_at, clock_timestamp() as now,"
            " coalesce(s.xact_commit + s.xact_rollback, 0) as transactions"
            " from databases d left join pg_database p on p.datname = d.id"
            " left join pg_stat_database s on s.datid = p.oid"
            " left join (select datid, count(*) as sessions, max(state_change) as active_at,"
            " count(*) filter (where state in ('active', 'fastpath function call')) as active"
            " from pg_stat_activity where backend_type = 'client backend' group by datid) a"
            " on a.datid = p.oid where %s::text is null or d.id = %s"
        )
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), (identifier, identifier))
            found: list[dict[str, Any]] = await cursor.fetchall()
        if not found:
            return [], datetime.min
        used = [
            row["id"]
            for row in found
            if row["sessions"] or row["transactions"] != self._transactions.get(row["id"])
        ]
        known: dict[str, int] = {row["id"]: row["size"] for row in found}
        sizes = known | await self._measure(conn, used)
        names = Database.__dataclass_fields__
        sights = [
            Sight(
                Database(**{name: row[name] for name in names}),
                size=sizes[row["id"]],
                sessions=row["sessions"],
                active=row["active"],
                active_at=row["active_at"],
                admits=row["datallowconn"],
                transactions=row["transactions"],
            )
            for row in found
        ]
        self._transactions |= {sight.database.id: sight.transactions for sight in sights}
        if identifier is None:
            seen = {sight.database.id for sight in sights}
            self._transactions = {k: v for k, v in self._transactions.items() if k in seen}
        return sights, found[0]["now"]

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
