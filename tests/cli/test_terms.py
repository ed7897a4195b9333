"""``liveweights terms``: what each model may be used for, and who set a rule aside."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.cli.reference import toml_of
from liveweights.config import DATABASE_URL, load_config
from liveweights.model_table import ConfigError

RULES = """
purposes = { acme = "commercial" }

[[terms]]
name = "no-us"
when = ["load", "route"]
on = { country = ["US"], tenant = ["abroad"] }
then = "deny"
reason = "agreed with them"

[[terms]]
name = "slip"
on = { maker = ["Qwen"] }
then = "warn"
reason = "never matches"
"""
SOON = f"{datetime.now(UTC).date() + timedelta(days=2)}"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["terms", *words])


def decisions(result: Result) -> dict[str, Any]:
    (model,) = json.loads(result.stdout)["models"]
    return {
        f"{one['question']['action']} {one['question']['learner']}": one
        for one in model["decisions"]
    }


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    file = tmp_path / "settings.toml"
    file.write_text(RULES)
    return ["--home", str(tmp_path), "--config", str(file)]


def test_the_services_model_is_known_by_its_card(settings: list[str]) -> None:
    result = run("check", *settings)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "code"
    assert lines[1].startswith("  HuggingFaceTB/SmolLM2-135M-Instruct: maker Hugging Face")
    assert "  route               allow" in lines
    assert any(line.strip().startswith("owed: Keep the copyright line") for line in lines)
    assert (
        "rule slip: on.maker: no card has 'Qwen'; did you mean 'Alibaba (Qwen)'?" in result.stderr
    )


def test_what_denies_is_said_and_is_the_status(settings: list[str]) -> None:
    result = run("check", "--tenant", "abroad", *settings)
    assert result.exit_code == 1
    assert "  route               deny by no-us: agreed with them (country US)" in result.stdout


def test_any_model_of_the_catalogue_is_checked(settings: list[str]) -> None:
    for tenant, outcome in (("acme", "deny"), ("lab", "warn")):
        found = decisions(run("check", "MiniMax-M2.7", "--tenant", tenant, "--json", *settings))
        assert len(found) == 6
        assert found["route itself"]["outcome"] == outcome
        assert found["load itself"]["outcome"] == "warn"
    found = decisions(run("check", "MiniMax-M2.7", "--purpose", "research", "--json", *settings))
    assert found["route itself"]["outcome"] == "allow"
    wrong = run("check", "MiniMax-M2.77", *settings)
    assert wrong.exit_code == 2
    assert "there is no card of 'MiniMax-M2.77'" in wrong.stderr


def test_a_model_without_a_card_is_unknown(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[models.mine]\nbase = "./no-such-model"\n')
    result = run("check", "--home", str(tmp_path), "--config", str(file))
    assert result.exit_code == 0
    assert "licence unknown (unknown)" in result.stdout
    assert "warn by unknown-licence: its licence is not known" in result.stdout


def test_a_rule_that_is_wrong_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(RULES.replace("country", "contry"))
    with pytest.raises(ConfigError, match=r"1 \(no-us\): on: there is no member 'contry'; did you"):
        load_config(file)
    file.write_text(RULES.replace('"slip"', '"region"'))
    with pytest.raises(ConfigError, match="'region' is the name of a rule that liveweights"):
        load_config(file)


def test_settings_in_force_can_be_read_again(tmp_path: Path) -> None:
    file, again = tmp_path / "settings.toml", tmp_path / "again.toml"
    file.write_text(RULES.replace('then = "deny"', 'since = 2026-01-02\nthen = "deny"'))
    config = load_config(file)
    again.write_text(toml_of(config))
    assert load_config(again) == config
    assert config.terms[0].since is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--until": "2020-01-01"}, "--until 2020-01-01 is over"),
        ({"--who": " "}, "--who and --why say who answers for it"),
        ({"--action": "run"}, "--action run: there are load, route"),
        ({"rule": "no-usa"}, "there is no rule 'no-usa'; did you mean 'no-us'?"),
    ],
)
def test_an_override_that_is_wrong_is_refused(
    settings: list[str], changes: dict[str, str], said: str
) -> None:
    options = {"--who": "ada", "--why": "contract", "--until": SOON, **changes}
    rule = options.pop("rule", "no-us")
    words = [word for pair in options.items() for word in pair]
    result = run("override", "code", rule, *words, *settings)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_override_lifts_its_rule_until_it_is_taken_back(
    settings: list[str], database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    who = ["--who", "ada", "--why", "contract 17", "--until", SOON]
    made = run("override", "code", "no-us", *who, "--action", "route", *settings)
    assert made.exit_code == 0, made.output
    number = made.stdout.split()[1].rstrip(":")
    checked = run("check", "--tenant", "abroad", *settings)
    assert checked.exit_code == 1  # it is about `route`, and loading is denied still
    assert "load                deny by no-us" in checked.stdout
    assert f"no-us is set aside by ada until {SOON}: contract 17" in checked.stdout
    (listed,) = json.loads(run("overrides", "--json", *settings).stdout)
    assert (listed["who"], listed["action"], listed["until"]) == ("ada", "route", SOON)
    assert "it may not be empty" in run("end", number, "--who", "", *settings).stderr
    assert run("end", number, "--who", "bob", *settings).exit_code == 0
    assert json.loads(run("overrides", "--json", *settings).stdout) == []
    (over,) = json.loads(run("overrides", "--all", "--json", *settings).stdout)
    assert over["ended_by"] == "bob"
    assert run("end", number, "--who", "bob", *settings).exit_code == 2
    assert "set aside" not in run("check", "--tenant", "abroad", *settings).stdout
    assert run("denials", *settings).exit_code == 0


def test_hosted_models_are_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'purposes = { "*" = "commercial" }\n[models.code]\n[models.big]\n'
        'upstream = "http://a.example"\nupstream_model = "MiniMaxAI/MiniMax-M2.7"\n'
    )
    result = run("check", "--json", "--home", str(tmp_path), "--config", str(file))
    assert result.exit_code == 1
    models = {one["name"]: one for one in json.loads(result.stdout)["models"]}
    assert list(models) == ["code", "big"]
    denied = {
        one["question"]["action"] for one in models["big"]["decisions"] if one["outcome"] == "deny"
    }
    assert denied == {"route", "learn", "release"}


def test_weights_are_not_handed_on_against_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        '[[terms]]\nname = "ours"\nwhen = ["export"]\non = { maker = ["Hugging Face"] }\n'
        'then = "deny"\nreason = "stays here"\n'
    )
    target = tmp_path / "moe"
    where = ["--home", str(tmp_path), "--config", str(file)]
    result = CliRunner().invoke(app, ["upcycle", "smollm2-135m-instruct", str(target), *where])
    assert result.exit_code == 2
    assert (
        "terms do not allow an export of smollm2-135m-instruct, which the rules know as code: "
        "stays here (maker Hugging Face) (rule ours)" in result.stderr
    )
    assert not target.exists()


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """A folder whose name says nothing; its weights are those of a card."""
    folder = tmp_path / "renamed"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"abc")
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "own.toml").write_text(
        f'[[models]]\nhub_id = "x/closed"\nname = "Closed"\ncountry = "CN"\nlicence = "MIT"\n'
        f'weights = ["{hashlib.sha256(b"abc").hexdigest()}"]\n'
    )
    return folder


@pytest.mark.parametrize("on", ['country = ["CN"]', 'model = ["mine"]', 'model = ["x/closed"]'])
@pytest.mark.parametrize("copied", [False, True])
def test_an_export_is_asked_about_the_weights_as_the_service_knows_them(
    renamed: Path, tmp_path: Path, on: str, copied: bool
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        f'cache = "{tmp_path / "cache"}"\n[models.mine]\nbase = "{renamed}"\n'
        f'[[terms]]\nname = "ours"\nwhen = ["load", "export"]\non = {{ {on} }}\n'
        'then = "deny"\nreason = "stays here"\n'
    )
    base = shutil.copytree(renamed, tmp_path / "copy") if copied else renamed
    where = ["--home", str(tmp_path), "--config", str(file)]
    assert decisions(run("check", *where, "--json"))["load itself"]["outcome"] == "deny"
    target = str(tmp_path / "out")
    for words in (
        ["upcycle", str(base), target],
        ["ternary", "convert", str(base), target, "--text", str(file)],
        ["ternary", "train", str(base), target, target, "--state", target],
        ["ternary", "export", str(base), target],
    ):
        refused = CliRunner().invoke(app, [*words, *where])
        assert refused.exit_code == 2
        assert f"an export of {base}, which the rules know as mine: stays here" in refused.stderr
    file.write_text(file.read_text().replace("[models.mine]", "[models.other]"))
    if "mine" not in on:
        refused = CliRunner().invoke(app, ["upcycle", str(base), target, *where])
        assert "which the rules know as other: stays here" in refused.stderr


def test_an_override_of_the_public_name_allows_the_export(
    database_dsn: str, renamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(
        f'cache = "{tmp_path / "cache"}"\n[models.mine]\nbase = "{renamed}"\n'
        '[[terms]]\nname = "ours"\nwhen = ["export"]\nthen = "deny"\nreason = "stays here"\n'
    )
    where = ["--home", str(tmp_path), "--config", str(file)]
    words = ["upcycle", str(renamed), str(tmp_path / "out"), *where]
    assert "stays here (rule ours)" in CliRunner().invoke(app, words).stderr
    denials = json.loads(run("denials", *where, "--json").stdout)
    assert [one["model"] for one in denials] == ["mine"]
    given = ["override", "mine", "ours", "--who", "ada", "--why", "mail", "--until", SOON]
    assert run(*given, *where).exit_code == 0
    result = CliRunner().invoke(app, words)
    assert "rule ours" not in result.stderr
    assert "cannot be served" in result.stderr
