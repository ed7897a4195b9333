"""``liveweights documents``: add, list, search, remove."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["documents", *words])


def test_a_folder_is_added_searched_and_removed(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    home = ["--home", str(tmp_path / "home")]
    folder = tmp_path / "our manuals"
    folder.mkdir()
    (folder / "gateway.md").write_text("# Gateway\n\nIt listens on port 8731.")
    (folder / "logo.png").write_bytes(b"\x89PNG\xff")
    added = run("add", str(folder), *home)
    assert added.exit_code == 0, added.output
    assert "our-manuals: 1 new, 0 changed, 0 as they were, 0 gone, 1 skipped" in added.stdout
    assert "skipped logo.png: no UTF-8 text" in added.stderr
    (listed,) = json.loads(run("list", "--json", *home).stdout)
    assert (listed["name"], listed["documents"]) == ("our-manuals", 1)
    assert "our-manuals" in run("list", *home).stdout
    (found,) = json.loads(run("search", "port of the gateway", "--json", *home).stdout)
    assert found["document"] == "our-manuals/gateway.md"
    again = json.loads(run("add", str(folder), "--tenant", "acme", "--json", *home).stdout)
    assert (again["new"], again["same"]) == (0, 1)
    assert run("search", "gateway", *home).stdout == ""
    assert "Gateway" in run("search", "gateway", "--tenant", "acme", *home).stdout
    again = run("add", str(folder), *home)  # as it is
    assert "our-manuals: searched by the models of acme" in again.stdout
    assert run("search", "gateway", *home).stdout == ""
    both = run("add", str(folder), "--everybody", "--tenant", "acme", *home)
    assert both.exit_code != 0
    opened = json.loads(run("add", str(folder), "--everybody", "--json", *home).stdout)
    assert opened["tenants"] == []
    assert "Gateway" in run("search", "gateway", *home).stdout
    assert run("remove", "our-manuals", *home).exit_code == 0
    wrong = run("remove", "our-manuals", *home)
    assert wrong.exit_code != 0
    assert "no folder is called 'our-manuals'" in wrong.output


def test_what_cannot_be_added_is_said(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    home = ["--home", str(tmp_path / "home")]
    for place in ("acme/docs", "globex/docs"):
        (tmp_path / place).mkdir(parents=True)
    assert run("add", str(tmp_path / "acme/docs"), *home).exit_code == 0
    for words, said in (
        ([str(tmp_path / "globex/docs")], "already: give"),
        ([str(tmp_path / "none")], "there is no folder"),
        ([str(tmp_path), "--name", "../x"], "cannot name a folder"),
    ):
        wrong = run("add", *words, *home)
        assert wrong.exit_code != 0
        assert said in wrong.output


def test_names_that_are_no_text_are_told_and_refused(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    home = ["--home", str(tmp_path / "home")]
    folder = tmp_path / os.fsdecode(b"docs\xff")
    folder.mkdir()
    (folder / os.fsdecode(b"a\xff.md")).write_text("# A")
    refused = run("add", str(folder), *home)
    assert refused.exit_code == 2
    assert "is no UTF-8" in refused.output
    added = run("add", str(folder.rename(tmp_path / "docs")), "--json", *home)
    assert [one["path"] for one in json.loads(added.stdout)["skipped"]] == ["a\\xff.md"]
