"""``liveweights users`` on a database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL


def test_people_are_added_changed_and_removed(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["users", *words, "--home", str(tmp_path)])

    added = run("add", "ada", "--role", "rater", "--tenant", "acme", "--url", "https://lw.example")
    assert added.exit_code == 0, added.output
    assert added.stdout.startswith("https://lw.example/invite?token=")
    again = run("invite", "ada")
    assert again.stdout.startswith("http://127.0.0.1:8090/invite?token=")
    assert again.stdout.strip() != added.stdout.strip()
    (ada,) = json.loads(run("list", "--json").stdout)
    assert (ada["name"], ada["role"], ada["tenant"]) == ("ada", "rater", "acme")
    assert ada["has_password"] is False
    assert "none yet" in run("list").stdout
    assert run("set", "ada", "--role", "admin").stdout == "ada is admin\n"
    for words, error in (
        (("add", "ada"), "There is a user 'ada' already."),
        (("set", "ada", "--role", "operator", "--tenant", "x"), "A user of one tenant is"),
        (("remove", "bob"), "There is no user 'bob'."),
        (("add", "eve", "--role", "king"), "king"),
    ):
        refused = run(*words)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert error in refused.stderr
    assert run("remove", "ada").stdout == "ada is removed\n"
    assert json.loads(run("list", "--json").stdout) == []
