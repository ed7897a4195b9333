"""The commands, on the tests' server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.audit import read_audit, read_changes
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.config import DATABASE_URL

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(agents_folder: Path) -> Ask:
    def ask(*arguments: str, given: str | None = None) -> tuple[int, str]:
        home = ["--home", str(agents_folder.parent)]
        result = CliRunner().invoke(app, ["db", *arguments, *home], input=given)
        return result.exit_code, result.output

    return ask


def test_from_a_script_to_a_fork_and_away(ask: Ask, tmp_path: Path) -> None:
    script = tmp_path / "shop.sql"
    script.write_text("create table orders as select generate_series(1, 3) as id;")
    code, url = ask("create", "shop", "--script", str(script))
    assert (code, url[:14]) == (0, "postgresql://d")
    assert ask("freeze", "shop") == (0, "shop is frozen\n")
    code, text = ask("fork", "shop", "attempt", "--ttl", "600", "--json")
    made = json.loads(text)
    assert (code, made["name"], made["state"]) == (0, "attempt", "ready")
    assert made["url"].startswith("postgresql://")
    code, text = ask("sql", "attempt", "-", given="delete from orders where id = 1")
    assert (code, text) == (0, "DELETE 1\n")
    code, text = ask("sql", "attempt", "table orders", "--read-only", "--json")
    assert json.loads(text)[0]["rows"] == [[2], [3]]
    assert ask("pause", "attempt") == (0, "attempt is paused\n")
    code, text = ask("list", "--json")
    states = {row["name"]: row["state"] for row in json.loads(text)}
    assert states.items() >= {"shop": "frozen", "attempt": "paused"}.items()
    assert "attempt" in ask("list")[1]
    assert ask("connect", "attempt")[1].strip() == made["url"]
    assert ask("limit", "attempt", "--size-mb", "64")[0] == 0
    expected = "attempt is deleted\nshop is deleted\nnone was not there\n"
    assert ask("delete", "attempt", "shop", "none") == (0, expected)


def test_a_service_in_the_home_has_them_in_its_audit(
    ask: Ask, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    assert ask("create", "first")[0] == 0
    assert ask("freeze", "first")[0] == 0
    assert ask("fork", "first", "second")[0] == 0
    assert ask("pause", "second")[0] == 0
    assert ask("limit", "second", "--size-mb", "64")[0] == 0
    assert ask("fork", "none", "third")[0] == 2
    assert ask("delete", "first", "second", "second") == (
        *(0, "first is deleted\nsecond is deleted\nsecond was not there\n"),
    )
    assert read_changes(database_dsn) == [
        ("command", "create database", "first"),
        ("command", "freeze database", "first"),
        ("command", "fork database", "second"),
        ("command", "pause database", "second"),
        ("command", "limit database", "second"),
        ("command", "delete database", "first"),
        ("command", "delete database", "second"),
    ]
    assert read_audit(database_dsn)[0].details["owner"] == "operator"


def test_what_is_wrong_is_said(ask: Ask) -> None:
    for arguments, words in (
        (("sql", "none", "select 1"), "no database none"),
        (("create", "No Name"), "cannot be a name"),
        (("create", "a", "--script", "none.sql"), "no file none.sql"),
        (("fork", "none", "a"), "no database none"),
    ):
        code, text = ask(*arguments)
        assert code == 2
        assert words in text
    assert ask("create", "a")[0] == 0
    code, text = ask("sql", "a", "selct")
    assert (code, "42601: syntax error" in text) == (2, True)
    assert ask("delete", "a")[0] == 0
