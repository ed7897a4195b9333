"""``liveweights import``: all lines are read before one is written."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from tests.serve.gateway.test_logs import chat
from typer.testing import CliRunner

from liveweights.cli import app

runner = CliRunner()


def lines_of(folder: Path, *lines: str) -> str:
    file = folder / "logs.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def test_logs_are_recorded_and_counted(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_DATABASE_URL", database_dsn)
    file = lines_of(tmp_path, json.dumps(chat()), "", json.dumps(chat(id="row-2", feedback=[])))
    found = runner.invoke(app, ["import", file, "--alias", "support", "--tenant", "team-b"])
    assert found.exit_code == 0, found.output
    assert "2 answers and 1 rows of feedback recorded for 'support'; 0 and 0 were known" in (
        found.output
    )
    again = runner.invoke(
        app, ["import", file, "--alias", "support", "--tenant", "team-b", "--json"]
    )
    assert json.loads(again.stdout)["generations_known"] == 2
    with psycopg.connect(database_dsn) as conn:
        rows = conn.execute("select distinct alias, tenant from generations").fetchall()
    assert rows == [("support", "team-b")]


def test_one_bad_line_and_none_is_written(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_DATABASE_URL", database_dsn)
    bad = json.dumps(chat(feedback=[{"signal": "liked"}]))
    file = lines_of(tmp_path, json.dumps(chat()), *[bad] * 12)
    found = runner.invoke(app, ["import", file])
    assert found.exit_code == 2
    assert "12 of 13 lines" in found.output
    assert "line 2: Invalid enum value 'liked'" in found.output
    assert "... and 2 more" in found.output
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select count(*) from generations").fetchone() == (0,)


def test_a_check_needs_no_service(tmp_path: Path) -> None:
    file = lines_of(tmp_path, json.dumps(chat()))
    home = str(tmp_path / "home")
    assert runner.invoke(app, ["import", file, "--check", "--home", home]).exit_code == 0
    found = runner.invoke(app, ["import", file, "--home", home])
    assert found.exit_code == 2
    assert "liveweights up" in found.output
    assert runner.invoke(app, ["import", str(tmp_path / "none.jsonl")]).exit_code == 2


def test_rows_that_will_not_stay_are_named(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_DATABASE_URL", database_dsn)
    config = tmp_path / "liveweights.toml"
    config.write_text("record.days = 30")
    file = lines_of(tmp_path, json.dumps(chat(created_at="2020-01-01T00:00:00Z", feedback=[])))
    found = runner.invoke(app, ["import", file, "--config", str(config)])
    assert found.exit_code == 0, found.output
    assert "2020-01-01" in found.stderr
    assert "days = 30" in found.stderr
