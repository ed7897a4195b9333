from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_rollups import DAY, timed_id
from tests.record.test_window import ask, record
from tests.timescale.database import ask_alone, needs_timescale
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.store.columnstore import close_days
from liveweights.store.database import Connection
from liveweights.store.partitions import ensure, ensure_ahead


@pytest.fixture
def dsn(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    ask(database_dsn, ensure_ahead)
    record(database_dsn, make_generation("g"), make_feedback("f", "g"))
    return database_dsn


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_sound_database(dsn: str) -> None:
    result = run("doctor", "--days", "1000")
    assert result.exit_code == 0, result.output
    assert "tier postgres" in result.output
    assert "equal to the raw rows" in result.output
    assert "fsync is off" in result.output  # the tests' server
    found = json.loads(run("doctor", "--json").stdout)
    assert found["wrong_buckets"] == 0
    assert "system calls" in found["sandbox"] or "bubblewrap" in found["sandbox"]["unavailable"]
    assert "sandbox" in result.output


def test_wrong_rollups_are_found_and_mended(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("update rollups set accepted = 7")
    result = run("doctor", "--days", "1000")
    assert result.exit_code == 1
    assert "rollups --rebuild" in result.output
    assert run("rollups").exit_code == 1
    assert run("rollups", "--rebuild").exit_code == 0
    assert run("doctor", "--days", "1000").exit_code == 0


@needs_timescale
def test_closed_days_are_told_with_their_sizes(
    timescale_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, timescale_dsn)

    async def fill(conn: Connection) -> None:
        await ensure_ahead(conn)
        rows = [encode(make_generation(timed_id(DAY, n), created_at=DAY)) for n in range(500)]
        await ensure(conn, [DAY.date()])
        columnstore = await prepare(conn)
        await conn.commit()
        await store(conn, rows, [], columnstore=columnstore)
        await conn.commit()
        await close_days(conn, DAY.date() + timedelta(days=1))

    ask_alone(timescale_dsn, fill)
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert "tier timescale" in result.output
    assert "columnstore   closed days: 1," in result.output
    sizes = json.loads(run("doctor", "--json").stdout)["columnstore"]
    assert sizes["as_columns"] < sizes["as_rows"]


def test_missing_partitions_are_told(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    result = run("doctor")
    assert result.exit_code == 1
    assert "start the service" in result.output


def test_what_postgres_refused_is_shown_offered_again_and_dropped(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("alter table generations add constraint ours check (output <> 'odd')")
    record(dsn, *(make_generation(f"\x1b[31m{n}", output="odd") for n in range(7)))
    result = run("doctor", "--days", "0")
    assert result.exit_code == 1
    assert "7 rows that Postgres refused" in result.output
    assert "generation '\\x1b[31m6' of 'default': 23514" in result.output
    assert result.output.count("23514") == 5
    assert json.loads(run("doctor", "--days", "0", "--json").stdout)["quarantined"] == 7
    result = run("quarantine")
    assert result.output.endswith("7 in quarantine\n")
    assert run("quarantine", "3").exit_code == 2
    numbers = [row["number"] for row in json.loads(run("quarantine", "--json").stdout)["rows"]]
    assert (
        "2 dropped, 5 in quarantine" in run("quarantine", "--drop", *map(str, numbers[:2])).output
    )
    assert "0 stored, 5 refused again" in run("quarantine", "--retry").output
    with psycopg.connect(dsn) as conn:
        conn.execute("alter table generations drop constraint ours")
    assert "5 stored, 0 refused again, 0 in quarantine" in run("quarantine", "--retry").output
    assert run("doctor", "--days", "1000").exit_code == 0


def test_files_that_could_not_be_read_are_shown(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "spill" / "api").mkdir(parents=True)
    (tmp_path / "spill" / "api" / "0000000001-3.damaged").write_bytes(b"")
    result = run("doctor", "--days", "0", "--home", str(tmp_path))
    assert result.exit_code == 1
    assert "0000000001-3.damaged" in result.output
