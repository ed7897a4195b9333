"""``liveweights switch``: what is refused, what is told, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.audit import read_changes
from tests.learn.families import make_config, write_family
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.cli.context import read_config, with_all_added
from liveweights.config import DATABASE_URL
from liveweights.weights.models import find

OLD, LEARNT = "old@000000000000", "old@111111111111"
SETTINGS = """
cache = "{cache}"
[models.live]
base = "old"
engine = {{ kind = "torch" }}
{terms}
"""
DENIED = """
[[terms]]
name = "no-qwen"
when = ["load"]
on = { country = ["CN"] }
then = "deny"
reason = "nobody may"
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def options(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS.format(cache=tmp_path / "cache", terms=DENIED))
    with psycopg.connect(database_dsn) as conn:
        for id, kind, base in ((OLD, "base", None), (LEARNT, "adapter", OLD)):
            conn.execute(
                "insert into checkpoints (id, kind, folder, base, parent, card)"
                " values (%s, %s, '/nowhere', %s, %s, '{}')",
                (id, kind, base, base),
            )
        conn.execute("insert into aliases (name, live) values ('live', %s)", (LEARNT,))
        conn.execute(
            "insert into releases (alias, action, checkpoint, reason)"
            " values ('live', 'create', %s, 'first')",
            (LEARNT,),
        )
    return ["--home", str(tmp_path), "--config", str(file)]


def refusal(*words: str) -> str:
    ended = run(*words)
    assert ended.exit_code == 2, ended.output
    return ended.stderr


def write_base(folder: Path) -> str:
    return str(write_family(make_config("mistral"), folder))


def test_what_is_refused_says_why_and_begins_nothing(
    options: list[str], database_dsn: str, tmp_path: Path
) -> None:
    new = write_base(tmp_path / "new")
    assert "not at hand" in refusal("switch", "live", str(tmp_path / "none"), *options)
    barred = write_base(tmp_path / "Qwen3-0.6B")
    assert "do not allow to load" in refusal("switch", "live", barred, *options)
    assert "leave NEW_BASE out" in refusal("switch", "live", new, "--back", *options)
    assert "never switched" in refusal("switch", "live", *options)
    assert "nothing to go back to" in refusal("switch", "live", "--back", *options)
    assert "no model is called 'other'" in refusal("switch", "other", new, *options)
    denials = json.loads(run("terms", "denials", "--json", *options).stdout)
    assert [one["rule"] for one in denials] == ["no-qwen"]
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select count(*) from cycles").fetchone() == (0,)
    assert read_changes(database_dsn) == []
    record(database_dsn, make_generation("g1", alias="live", endpoint="chat"))
    assert "has no chat template" in refusal("switch", "live", new, *options)


def test_a_switch_is_told_and_undone(options: list[str], database_dsn: str, tmp_path: Path) -> None:
    new = write_base(tmp_path / "new")
    base = find(new, tmp_path / "cache").id
    begun = run("switch", "live", new, "--reason", "cheaper", "--json", *options)
    assert begun.exit_code == 0, begun.output
    cycle: dict[str, Any] = json.loads(begun.stdout)
    assert (cycle["state"], cycle["incumbent"]) == ("claiming", LEARNT)
    assert cycle["learning"]["switch"] == {
        "base": base, "model": new, "former": OLD, "former_model": "old", "reason": "cheaper",
    }  # fmt: skip
    assert json.loads(run("switch", "live", new, "--json", *options).stdout)["id"] == cycle["id"]
    assert read_changes(database_dsn) == [("command", "switch base", "live")]
    settings = read_config(Path(options[3]), None)
    assert with_all_added(settings, tmp_path).find_model("live").base == "old"

    # As if it had been tried and everyone were answered there.
    for number, signal in enumerate(("accepted", "rejected", "accepted", "accepted")):
        id, checkpoint = f"g{number}", LEARNT if number < 2 else base
        record(
            database_dsn,
            make_generation(id, alias="live", checkpoint=checkpoint),
            make_feedback(f"f{number}", id, signal=signal),
        )
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "update cycles set state = 'ended', outcome = 'promoted', candidate = %s,"
            " learning = learning || %s, ended_at = now()",
            (base, Jsonb({"roles": {"preference": 7}})),
        )
        conn.execute("update aliases set live = %s", (base,))
    told = json.loads(run("switch", "live", "--json", *options).stdout)
    assert (told["stands"], told["state"]) == (base, "promoted")
    assert told["relearnt"] == {"preference": 7}
    assert told["accepted"]["before"]["value"] == 0.5
    assert told["accepted"]["after"]["value"] == 1.0
    assert told["accepted"]["difference"]["value"] == 0.5
    shown = run("switch", "live", *options).stdout
    assert "accepted before: 50.0%" in shown
    assert "relearnt rows: 7 preference" in shown
    # Whatever is said of models goes by the base that it stands on.
    assert with_all_added(settings, tmp_path).find_model("live").base == new

    back = run("switch", "live", "--back", "--reason", "nicer there", *options)
    assert back.stdout == f"live: {LEARNT} is live\n"
    assert read_changes(database_dsn)[1:] == [("command", "switch back", "live")]
    assert with_all_added(settings, tmp_path).find_model("live").base == "old"
