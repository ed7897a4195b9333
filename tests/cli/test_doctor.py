from __future__ import annotations

import json
from datetime import timedelta

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
    assert json.loads(run("doctor", "--json").stdout)["wrong_buckets"] == 0


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
