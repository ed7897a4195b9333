from __future__ import annotations

import json

import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import ask, record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.store.partitions import ensure_ahead


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


def test_missing_partitions_are_told(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    result = run("doctor")
    assert result.exit_code == 1
    assert "start the service" in result.output
