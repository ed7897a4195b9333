"""Bring a database to the schema that this code expects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import psycopg

from liveweights.store.database import Connection

LOCK = 7_301_120_001
"""Key of the advisory lock: two processes starting at once migrate one after the other."""

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrationError(RuntimeError):
    """The database and the code do not belong together; the message says how."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


def packaged(package: str = "liveweights.store") -> list[Migration]:
    """The files in ``package``'s ``migrations``, in order. Raises MigrationError on a misnamed
    one."""
    folder = files(package) / "migrations"
    items = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda i: i.name
    )
    migrations = [Migration(item.name, item.read_bytes()) for item in items]
    for position, migration in enumerate(migrations, start=1):
        match = NAME.fullmatch(migration.name)
        if match is None or int(match[1]) != position:
            raise MigrationError(
                f"migration {migration.name!r} should be named {position:04d}_what_it_does.sql"
            )
    return migrations


def migrate(dsn: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing, each file in its own transaction; return the applied names.

    Raises MigrationError if an applied file has changed since, if the database is newer than
    the code, or if a file fails (which leaves the database as it was before that file).
    """
    wanted = packaged() if migrations is None else list(migrations)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(%s)", (LOCK,))
        conn.execute(
            "create table if not exists migrations (name text primary key, checksum text not null, "
            "applied_at timestamptz not null default now())"
        )
        rows = conn.execute("select name, checksum from migrations order by name").fetchall()
        missing = _missing(wanted, rows)
        for migration in missing:
            _apply(conn, migration)
    return [migration.name for migration in missing]


def find_mismatch(dsn: str) -> str | None:
    """In what the tables of a database are not those of this version, in a sentence; None where
    they are. Raises psycopg.Error."""
    with psycopg.connect(dsn) as conn:
        conn.read_only = True
        try:
            rows = conn.execute("select name, checksum from migrations order by name").fetchall()
        except psycopg.errors.UndefinedTable:
            rows = []
    if not rows:
        return "this database has no tables of liveweights yet; `liveweights up` makes them"
    try:
        missing = _missing(packaged(), rows)
    except MigrationError as error:
        return str(error)
    if not missing:
        return None
    return (
        f"the tables of this database are of an older version of liveweights (before "
        f"{missing[0].name}): start the service again with this one, which brings them up to date"
    )


async def read_beginning(conn: Connection) -> datetime:
    """When the database was first made ready: its record begins there."""
    cursor = await conn.execute("select min(applied_at) from migrations")
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


def _missing(wanted: list[Migration], applied: list[tuple[str, str]]) -> list[Migration]:
    if len(applied) > len(wanted):
        raise MigrationError(
            f"the database has migration {applied[-1][0]}, which this version of liveweights does "
            "not know: it was made by a newer version. Install that version, or use another "
            "database"
        )
    for migration, (name, checksum) in zip(wanted, applied, strict=False):
        if migration.name != name:
            raise MigrationError(
                f"the database has migration {name} where this version of liveweights has "
                f"{migration.name}; they do not belong together"
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"migration {name} was applied with other content (checksum {checksum[:12]}, now "
                f"{migration.checksum[:12]}). Applied files must not change: restore it, and put "
                "the change into a new file"
            )
    return wanted[len(applied) :]


def _apply(conn: psycopg.Connection, migration: Migration) -> None:
    try:
        with conn.transaction():
            conn.execute(migration.sql)
            conn.execute(
                "insert into migrations (name, checksum) values (%s, %s)",
                (migration.name, migration.checksum),
            )
    except psycopg.Error as error:
        raise MigrationError(f"migration {migration.name} failed: {error}") from error
