"""What kind of Postgres this is, and what it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liveweights.store.database import Connection

OLDEST, NEWEST = 15, 18
"""Major versions that are supported."""

Kind = Literal["embedded", "postgres", "timescale"]


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
        " current_setting('synchronous_commit'), current_setting('fsync')"
    )
    row = await cursor.fetchone()
    assert row is not None
    version, number, timescale, licence, synchronous, fsync = row
    return Tier(
        "embedded" if embedded else "timescale" if timescale else "postgres",
        version,
        f"{timescale} ({licence})" if timescale else None,
        tuple(_lacks(number // 10_000, timescale, licence, synchronous, fsync)),
    )


def _lacks(
    major: int, timescale: str | None, licence: str | None, synchronous: str, fsync: str
) -> list[str]:
    found: list[str] = []
    if major > NEWEST:
        found.append(f"Postgres {major} is newer than what is tested ({OLDEST} to {NEWEST})")
    if fsync != "on":
        found.append("fsync is off: a power cut loses acknowledged feedback; set fsync = on")
    if synchronous in ("off", "local"):
        found.append(
            f"synchronous_commit is {synchronous}: acknowledged feedback may be lost with the "
            "server; set it to on"
        )
    if timescale and licence != "timescale":
        found.append(
            "timescaledb is the Apache edition, without columnstore and policies; liveweights "
            "works without them"
        )
    elif timescale:
        found.append(
            "timescaledb's columnstore is not used: days are plain partitions in every tier"
        )
    return found


async def check_version(conn: Connection) -> None:
    """Raises UnsupportedServer below ``OLDEST``."""
    number = conn.info.server_version
    if number < OLDEST * 10_000:
        raise UnsupportedServer(
            f"the server runs Postgres {number // 10_000}; liveweights needs {OLDEST} or newer"
        )
