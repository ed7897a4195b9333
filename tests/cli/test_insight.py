from __future__ import annotations

import csv
import io
import json

import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL


@pytest.fixture
def dsn(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    return database_dsn


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_one_question_as_table_json_and_csv(dsn: str) -> None:
    record(dsn, make_generation("g"), make_generation("h"), make_feedback("f", "g"))
    question = ("insight", "accept-rate", "--since", "2025-12-01", "--step", "1d")
    table = run(*question)
    assert table.exit_code == 0, table.output
    assert "base@000000000000" in table.output
    assert "▄" in table.output
    (row,) = json.loads(run(*question, "--json").stdout)
    assert (row["generations"], row["accepted"], row["accept_rate"]) == (2, 1, 1.0)
    (line,) = csv.DictReader(io.StringIO(run(*question, "--csv").stdout))
    assert (line["key"], line["generations"]) == ("base@000000000000", "2")
    assert line["at"] == row["at"]


def test_nothing_and_nonsense_are_told(dsn: str) -> None:
    assert "nothing between" in run("insight", "usage").output
    result = run("insight", "usage", "--by", "mood")
    assert result.exit_code == 2
    assert "checkpoint, tenant" in result.output
    result = run("insight", "usage", "--since", "soon")
    assert result.exit_code == 2
    assert "7d" in result.output
