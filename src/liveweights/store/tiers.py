"""What kind of Postgres this is, and what it lacks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from liveweights.store.database import Connection

OLDEST, NEWEST = 15, 18
"""Major versions that are supported."""

COLUMNSTORE = (2, 18)
"""The first timescaledb whose columnstore is used."""

Kind = Literal["embedded", "postgres", "timescale"]
"""``timescale`` where closed days become columnstore; migration 0016 says when they do."""


class UnsupportedServer(RuntimeError):
    """The server is too old; the message says which version is needed."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The server behind a connection. ``lacks`` are sentences for people, each with what to do."""

    kind: Kind
    version: str
    timescale: str | None
    lacks: tuple[str, ...]


async def detect(conn: Connection, *, embedded: bool) -> Tier:
    """Look at the server. ``embedded`` says that it is the one that liveweights started.

    The tables, the rollups and the answers are the same in every tier.
    """
    cursor = await conn.execute(
        "select current_setting('server_version'), current_setting('server_version_num')::int,"
        " (select extversion from pg_extension where extname = 'timescaledb'),"
        " current_setting('timescaledb.license', true),"
        " current_setting('synchronous_commit'), current_setting('fsync'),"
        " exists (select from pg_available_extensions where name = 'timescaledb'),"
        " exists (select from pg_class"
        " where oid = to_regclass('generations') and relkind = 'r')"
    )
    row = await cursor.fetchone()
    assert row is not None
    version, number, timescale, licence, synchronous, fsync, available, columnstore = row
    lacks = _lacks_safety(synchronous, fsync)
    if (major := number // 10_000) > NEWEST:
        lacks.insert(0, f"Postgres {major} is newer than what is tested ({OLDEST} to {NEWEST})")
    if not columnstore and (timescale or available):
        lacks.append(_lacks_columnstore(timescale, licence))
    return Tier(
        "embedded" if embedded else "timescale" if columnstore else "postgres",
        version,
        f"{timescale} ({licence})" if timescale else None,
        tuple(lacks),
    )


def _lacks_safety(synchronous: str, fsync: str) -> list[str]:
    warnings: list[str] = []
    if fsync != "on":
        warnings.append("fsync is off: a power cut loses acknowledged feedback; set fsync = on")
    if synchronous in ("off", "local"):
        warnings.append(
            f"synchronous_commit is {synchronous}: acknowledged feedback may be lost with the "
            "server; set it to on"
        )
    return warnings


def _lacks_columnstore(timescale: str | None, licence: str | None) -> str:
    """Why days stay plain partitions although the server knows timescaledb."""
    fresh = "make a fresh database with it before liveweights first starts there"
    if timescale is None:
        return (
            "timescaledb is on the server, but the extension was not created in this database: "
            f"closed days stay plain partitions; for columnstore, {fresh}"
        )
    if licence != "timescale":
        return (
            "timescaledb is the Apache edition, without columnstore: closed days stay plain "
            "partitions; the full edition is for whoever runs the server to license, and then to "
            f"{fresh}"
        )
    match = re.match(r"(\d+)\.(\d+)", timescale)
    if match and (int(match[1]), int(match[2])) < COLUMNSTORE:
        return (
            f"timescaledb {timescale} is older than {'.'.join(map(str, COLUMNSTORE))}: closed days "
            f"stay plain partitions; update the extension, and {fresh}"
        )
    return (
        "timescaledb was not in this database, or not in its search_path, when its tables were "
        f"made: closed days stay plain partitions; for columnstore, {fresh}"
    )


async def check_version(conn: Connection) -> None:
    """Raises UnsupportedServer below ``OLDEST``."""
    number = conn.info.server_version
    if number < OLDEST * 10_000:
        raise UnsupportedServer(
            f"the server runs Postgres {number // 10_000}; liveweights needs {OLDEST} or newer"
        )
