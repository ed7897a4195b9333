"""``liveweights models``: what is there, and what is added, changed and removed."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.cli.models import COLUMNS, View, change_keys, describe, join, parse_keys
from liveweights.config import DATABASE_URL, Config
from liveweights.release.models import Row, Standing
from liveweights.serve.api.objects import Model
from liveweights.serve.api.profile import Capabilities, DataPolicy

SETTINGS = """
api.port = 9  # nobody's
api.open = true
[models.code]
[models.far]
upstream = "http://10.0.0.2:8000"
"""


@pytest.fixture
def run(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)

    def invoke(*words: str) -> Result:
        place = ["--home", str(tmp_path), "--config", str(file)]
        return CliRunner().invoke(app, ["models", *words, *place], env={"COLUMNS": "200"})

    return invoke


def test_keys_are_values_of_toml_or_text() -> None:
    given = ["base=models/chat-1b", "learn=false", "engine.slots=2", 'fallback=["a"]', "key_env="]
    assert parse_keys(given) == {
        "base": "models/chat-1b",
        "learn": False,
        "engine": {"slots": 2},
        "fallback": ["a"],
        "key_env": "",
    }


def test_set_changes_keys_within_tables_and_takes_some_back() -> None:
    before = {"base": "x", "engine": {"slots": 2, "kind": "torch"}, "gate": {"cases": 3}}
    given = parse_keys(["engine.slots=4", "base=", "gate.cases=", "learn=false"])
    assert change_keys(before, given) == {"engine": {"slots": 4, "kind": "torch"}, "learn": False}


@pytest.mark.parametrize("words", [["base"], ["=x"], ["a..b=1"], ["engine=x", "engine.slots=1"]])
def test_what_is_no_key_is_refused(words: list[str], run) -> None:
    result = run("add", "m", *words)
    assert result.exit_code == 2, result.output


def test_each_model_is_told_with_where_it_stands() -> None:
    view = View(
        rows={
            "more": Row("more", {"base": "models/x", "learn": False}, 3),
            "odd": Row("odd", {"bass": 1}, 1),
            "code": Row("code", {"base": "other"}, 1),
        },
        standings=[
            Standing("a", "code", "ready"),
            Standing("a", "more", "cold", 3),
            Standing("b", "more", "failed", 3, "no such folder"),
        ],
        live={"code": "smol@1", "more": "x@2"},
    )
    code, more, odd = describe(Config(), view)
    assert (code["state"], code["checkpoint"], code["from"]) == ("ready", "smol@1", "settings")
    assert (more["kind"], more["of"], more["learn"]) == ("local", "models/x", False)
    assert (more["state"], more["error"], more["from"]) == (
        *("cold, failed", "no such folder", "added"),
    )
    assert "unknown field `bass`" in odd["error"]


def test_what_the_service_says_goes_beside_it() -> None:
    model = Model(
        id="far",
        created=1,
        checkpoint="far@0123",
        root="org/far",
        parent=None,
        context_length=4096,
        max_model_len=4096,
        canary=None,
        owned_by="hosted",
        state="resting",
        base=None,
        maker="them",
        country=None,
        licence=None,
        duties=(),
        notices=(),
        warnings=(),
        capabilities=Capabilities(),
        pricing=None,
        data=DataPolicy(),
        verdict=None,
        accept_rate=None,
        latency=None,
    )
    hosted = {"name": "far", "kind": "hosted", "state": "hosted", "checkpoint": "far@upstream"}
    row = join(hosted, model)
    assert (row["state"], row["checkpoint"]) == ("resting", "far@0123")
    assert (row["maker"], row["context"], row["name"]) == ("them", "4,096 tokens", "far")
    local = {"name": "far", "kind": "local", "state": "cold, ready", "checkpoint": "a@1"}
    row = join(local, model)
    assert (row["state"], row["checkpoint"], row["maker"]) == ("cold, ready", "a@1", "them")
    assert join(local, None) == local
    assert {"maker", "price", "data", "error"} < set(COLUMNS)
    assert "model" not in COLUMNS


def test_a_model_that_would_answer_everybody_with_a_key_of_the_operators_is_not_added(
    run, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS.replace("api.open = true\n", ""))
    given = ("upstream=https://api.example.com/v1", "key_env=BIG_KEY")
    refused = run("add", "big", *given)
    assert refused.exit_code == 2
    assert "models.big.key_env is set and api.keys is not" in refused.output
    assert run("add", "big", given[0], "--wait", "0").exit_code == 0
    assert run("set", "big", given[1], "--wait", "0").exit_code == 2


def test_a_model_is_added_shown_changed_and_removed(run, database_dsn: str) -> None:
    added = run("add", "big", "upstream=https://api.example.com/v1", "key_env=BIG_KEY")
    assert (added.exit_code, added.stdout) == (
        *(0, "big is there, version 1; no instance runs now\n"),
    )
    listed = {one["name"]: one for one in json.loads(run("list", "--json").stdout)}
    assert [*listed] == ["code", "far", "big"]
    assert listed["big"] == {
        "name": "big",
        "kind": "hosted",
        "of": "https://api.example.com/v1",
        "checkpoint": "big@upstream",
        "state": "no instance",
        "learn": False,
        "from": "added",
        "error": None,
        "facts": None,
    }
    assert "answers at http://127.0.0.1:9/v1/models" in run("list").stderr
    assert run("set", "big", "timeout=5", "key_env=", "--wait", "0").exit_code == 0
    shown = json.loads(run("show", "big", "--json").stdout)
    assert (shown["version"], shown["settings"]) == (
        *(2, {"upstream": "https://api.example.com/v1", "timeout": 5}),
    )
    assert "timeout = 5" in run("show", "big").stdout
    # An instance that could not run it is told of, and is the status.
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into model_states (instance, model, state, version, error)"
            " values ('here', 'big', 'failed', 3, 'no key')"
        )
    failed = run("set", "big", "timeout=6")
    assert (failed.exit_code, failed.stderr) == (1, "here: no key\n")
    slow = run("remove", "big", "--wait", "0.1")
    assert "not every instance has done it within 0.1 s" in slow.stderr
    assert run("show", "big").exit_code == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["add", "code", "learn=false"], "'code' is the settings file's: change it there"),
        (["remove", "far"], "'far' is the settings file's"),
        (["set", "none", "learn=false"], "no model 'none' was added"),
        (["remove", "none"], "no model 'none' was added"),
        (["set", "none"], "say what is to be changed"),
        (["add", "m", "bass=1"], "unknown field `bass`"),
        (["add", "m", "upstream=http://h", "base=x"], "cannot have `base`"),
        (["add", "m", "upstream=http://h", 'fallback=["x"]'], "no model is called 'x'"),
        (["add", "m", "engine.slots=0"], "models.m.engine: "),
        (["add", "m", "openai.key=sk-1"], "the database keeps no secrets"),
        (["show", "none"], "there are code, far"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], why: str, run) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert why in result.stderr
    assert [one["name"] for one in json.loads(run("list", "--json").stdout)] == ["code", "far"]


def test_what_another_learns_from_stays(run) -> None:
    """Without it, nothing else could be added or changed."""
    assert run("add", "big", "upstream=http://h", "--wait", "0").exit_code == 0
    assert run("add", "student", "learn_from=big", "--wait", "0").exit_code == 0
    refused = run("remove", "big")
    assert (refused.exit_code, refused.stderr) == (
        *(2, "student learns from big: change that one first\n"),
    )
    assert run("add", "other", "upstream=http://h", "--wait", "0").exit_code == 0
    assert run("set", "student", "learn_from=", "--wait", "0").exit_code == 0
    assert run("remove", "big", "--wait", "0").exit_code == 0


def test_what_others_fall_back_on_stays(run) -> None:
    assert run("add", "one", "upstream=http://h", "--wait", "0").exit_code == 0
    assert run("add", "two", "upstream=http://h", 'fallback=["one"]', "--wait", "0").exit_code == 0
    assert "two falls back on one" in run("remove", "one").stderr
    assert run("add", "one", "upstream=http://h").exit_code == 2


def test_other_commands_know_what_was_added(run, tmp_path: Path) -> None:
    assert run("add", "more", "--wait", "0").exit_code == 0
    file = str(tmp_path / "settings.toml")
    result = CliRunner().invoke(
        app, ["status", "--model", "more", "--home", str(tmp_path), "--config", file]
    )
    assert "there is no alias 'more'" in result.stderr  # nobody has served it yet


def test_terms_are_explained_of_what_was_added(run, tmp_path: Path) -> None:
    assert run("add", "more", "--wait", "0").exit_code == 0
    place = ["--home", str(tmp_path), "--config", str(tmp_path / "settings.toml")]
    result = CliRunner().invoke(app, ["terms", "check", *place])
    assert result.exit_code == 0, result.output
    named = [line for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert {"code", "far", "more"} <= set(named)


def test_without_a_command_they_are_listed(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["models"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "code" in result.stdout
    assert "Usage" not in result.stdout


def test_alone_it_is_the_list_with_its_options(run) -> None:
    assert run("--json").stdout == run("list", "--json").stdout
    assert [line["name"] for line in json.loads(run("--json").stdout)] == ["code", "far"]
    result = CliRunner().invoke(app, ["models", "--home", "elsewhere", "list"])
    assert result.exit_code == 2
    assert "`liveweights models list ...`" in result.output
