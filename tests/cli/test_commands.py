from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

from liveweights import cli
from liveweights.app.running import write_running
from liveweights.cli import app
from liveweights.config import DATABASE_URL, Config

runner = CliRunner()


def test_the_printed_settings_are_a_settings_file() -> None:
    result = runner.invoke(app, ["config"])
    assert result.exit_code == 0
    assert msgspec.convert(tomllib.loads(result.stdout), Config) == Config()


def test_tables_within_tables_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text("api.limits.requests_per_minute = 7")
    result = runner.invoke(app, ["config", "--config", str(path)])
    printed = tomllib.loads(result.stdout)
    assert printed["api"]["limits"]["requests_per_minute"] == 7
    assert msgspec.convert(printed, Config).api.limits.requests_per_minute == 7


@pytest.mark.parametrize("text", ["cycle.every = 'x'", "[learn]\nrnk = 3", "= broken"])
def test_a_bad_settings_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    result = runner.invoke(app, ["config", "--config", str(path)])
    assert result.exit_code == 2
    assert "bad.toml" in result.output


def test_a_home_without_a_service_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "liveweights up" in result.output


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["serve", "--home", str(tmp_path), "--precision", "q5"])
    assert result.exit_code == 2
    assert "q4, q8" in result.output


def test_a_home_answers_for_its_service_by_its_settings(
    tmp_path: Path, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its alias, its database and its port, without --config."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('m@1', 'base', '/', '{}')"
        )
        conn.execute("insert into aliases (name, live) values ('mine', 'm@1')")
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    write_running(tmp_path, Config(alias="mine"), "http://127.0.0.1:1")
    monkeypatch.setenv(DATABASE_URL, "postgresql://another.example/")
    result = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("mine: m@1 is live")
    result = runner.invoke(app, ["feedback", "g", "accepted", "--home", str(tmp_path)])
    assert "http://127.0.0.1:1 cannot be reached" in result.output
    again = ["gate", "knowledge", "--candidate", "mine", "--home", str(tmp_path)]
    assert "http://127.0.0.1:1 cannot be reached" in runner.invoke(app, again).output


def test_every_command_with_a_home_reads_the_settings_of_its_service() -> None:
    found = 0
    for file in Path(cli.__file__).parent.glob("*.py"):
        if file.name == "service.py":
            continue  # it starts one
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            if "home" not in {one.arg for one in function.args.args}:
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "read_config":
                    found += 1
                    assert len(call.args) == 2, f"{file.name}: {function.name}"
    assert found > 40
