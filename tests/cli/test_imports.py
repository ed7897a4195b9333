"""``liveweights import``: all lines are read before one is written."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from tests.serve.gateway.test_logs import chat
from typer.testing import CliRunner, Result

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


def test_a_branch_is_its_models_and_its_tenants_and_an_unknown_name_is_warned_of(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_DATABASE_URL", database_dsn)
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('b@1', 'base', '/', '{}')"
        )
        conn.execute(
            "insert into aliases (name, live, model, tenant) values ('big', 'b@1', null, null),"
            " ('big:acme', 'b@1', 'big', 'acme')"
        )
    settings = tmp_path / "liveweights.toml"
    settings.write_text('[models.small]\nbase = "smollm2-135m-instruct"\n')

    def bring(name: str, *more: str) -> Result:
        file = lines_of(tmp_path, json.dumps(chat(id=name, feedback=[])))
        words = ["import", file, "--alias", name, "--config", str(settings), *more]
        return runner.invoke(app, words)

    other = bring("big:acme", "--tenant", "beta")
    assert other.exit_code == 2
    assert "branch of 'acme'" in other.stderr
    for name in ("big:acme", "big", "small"):
        done = bring(name)
        assert done.exit_code == 0, done.output
        assert done.stderr == ""
    typo = bring("bgi")
    assert typo.exit_code == 0
    assert "no model is called 'bgi'" in typo.stderr
    with psycopg.connect(database_dsn) as conn:
        rows = conn.execute("select alias, tenant from generations order by 1, 2").fetchall()
    assert rows == [
        ("bgi", "default"), ("big", "acme"), ("big", "default"), ("small", "default"),
    ]  # fmt: skip


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


def test_what_a_check_finds_is_json_where_that_is_asked(tmp_path: Path) -> None:
    words = ["import", lines_of(tmp_path, json.dumps(chat())), "--check"]
    place = ["--alias", "support", "--home", str(tmp_path / "home")]
    found = json.loads(runner.invoke(app, [*words, "--json", *place]).stdout)
    assert (found["lines"], len(found["days"])) == (1, 1)
    assert "is in order" in runner.invoke(app, [*words, *place]).stdout
