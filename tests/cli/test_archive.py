from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_rollups import timed_id
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL

DAY = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    for number in range(3):
        at = DAY + timedelta(days=number)
        id = timed_id(at, number)
        record(database_dsn, make_generation(id, created_at=at), make_feedback(f"f{number}", id))
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--home", str(home)])


def rows(home: Path, *arguments: str) -> list[dict[str, object]]:
    result = run(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_day_goes_and_comes_back(home: Path) -> None:
    (gone,) = rows(home, "archive", "2026-02-01")
    assert (gone["day"], gone["generations"], gone["feedback"]) == ("2026-02-01", 1, 1)
    assert (home / "archive" / "2026-02-01.generations.parquet").is_file()
    assert rows(home, "archive", "--list") == [gone]
    (back,) = rows(home, "restore", "2026-02-01")
    assert back["restored_at"]


def test_without_days_the_settings_decide(home: Path) -> None:
    assert "[record] days is 0" in run(home, "archive").output
    settings = home / "liveweights.toml"
    settings.write_text("[record]\ndays = 30\narchive = false\n")
    found = rows(home, "archive", "--config", str(settings))
    assert [(row["day"], row["files"]) for row in found] == [
        (f"2026-02-0{n}", {}) for n in (1, 2, 3)
    ]


def test_what_cannot_be_done_is_said(home: Path, now: datetime) -> None:
    for arguments, words in (
        (("archive", "tomorrow"), "'tomorrow' is no day"),
        (("archive", "2026-01-01"), "Postgres has no rows of 2026-01-01"),
        (("archive", str(now.date())), "is not over"),
        (("restore", "2026-02-01"), "was never archived"),
    ):
        result = run(home, *arguments)
        assert result.exit_code == 2
        assert words in result.output


def test_a_user_is_forgotten(home: Path) -> None:
    rows(home, "archive", "2026-02-01")
    result = run(home, "forget", "ada")
    assert "3 generations and 3 rows of feedback removed" in result.output
    assert "the files of 2026-02-01 were written anew" in result.output
    assert "0 generations" in run(home, "forget", "ada").output
