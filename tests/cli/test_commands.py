from __future__ import annotations

import ast
import os
import pwd
import shutil
import tempfile
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


def test_data_that_is_gone_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "location").write_text(str(tmp_path / "gone"))
    result = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert "which is gone; restore that folder" in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
@pytest.mark.parametrize("is_home_open", [True, False])
def test_a_home_of_somebody_elses_is_said_in_a_sentence(
    is_home_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    home = Path(tempfile.mkdtemp(prefix="liveweights-tests-"))
    command = ["status", "--home", str(home)]
    try:
        runner.invoke(app, command)  # what it imports may be closed to the other user
        (home / "postgres").mkdir(mode=0o700)
        home.chmod(0o755 if is_home_open else 0o700)
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            result = runner.invoke(app, command)
        finally:
            os.seteuid(0)
    finally:
        shutil.rmtree(home)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert f"{home}" in result.output.replace("\n", "")
    assert "run the command as the user of the service, or as root" in result.output


@pytest.mark.parametrize(("database", "code"), [("host=127.0.0.1 port=1", 75), ("nonsense", 2)])
def test_the_exit_code_tells_what_passes_from_what_has_to_be_mended(
    database: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database)
    home = str(tmp_path / "home")
    command = ["up", "--upstream", "http://127.0.0.1:1", "--port", "0", "--home", home]
    result = runner.invoke(app, command)
    assert (result.exit_code, type(result.exception)) == (code, SystemExit)
    assert "database" in result.output


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
