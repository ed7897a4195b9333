from __future__ import annotations

import asyncio

import psycopg
import pytest
from tests.record.test_window import ask

from liveweights.store.database import Connection
from liveweights.store.tiers import UnsupportedServer, check_version, detect


def test_the_embedded_server_is_told_from_another(database_dsn: str) -> None:
    ours = ask(database_dsn, lambda conn: detect(conn, embedded=True))
    theirs = ask(database_dsn, lambda conn: detect(conn, embedded=False))
    assert (ours.kind, theirs.kind, theirs.timescale) == ("embedded", "postgres", None)
    assert ours.version == theirs.version
    assert [sentence for sentence in theirs.lacks if "fsync is off" in sentence]


def test_what_loses_acknowledged_feedback_is_told(database_dsn: str) -> None:
    async def look(conn: Connection) -> tuple[str, ...]:
        await conn.execute("set synchronous_commit = off")
        return (await detect(conn, embedded=False)).lacks

    assert any("synchronous_commit is off" in sentence for sentence in ask(database_dsn, look))


@pytest.mark.parametrize(
    ("version", "licence", "told"),
    [
        ("2.30.1", "apache", "Apache edition"),
        ("2.17.2", "timescale", "2.17.2 is older than 2.18"),
        ("2.30.1", "timescale", "when its tables were made"),
    ],
)
def test_timescaledb_is_found_with_its_edition(
    database_dsn: str, version: str, licence: str, told: str
) -> None:
    """By what the extension leaves in the catalogue and the settings; it is not installed here.
    The days are partitions, so the tier is that of plain Postgres."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable,"
            " extversion) values (99999, 'timescaledb', 10, 11, false, %s)",
            (version,),
        )
        name = conn.info.dbname
        conn.execute(f"alter database {name} set timescaledb.license = '{licence}'".encode())
    found = ask(database_dsn, lambda conn: detect(conn, embedded=False))
    assert (found.kind, found.timescale) == ("postgres", f"{version} ({licence})")
    assert any(told in sentence for sentence in found.lacks)


def test_an_old_server_is_refused() -> None:
    class Info:
        server_version = 140_009

    class Old:
        info = Info()

    async def main() -> None:
        with pytest.raises(UnsupportedServer, match="Postgres 14; liveweights needs 15"):
            await check_version(Old())  # type: ignore[arg-type]

    asyncio.run(main())
