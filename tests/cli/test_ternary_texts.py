"""``liveweights ternary convert --recorded``: on answers of those who agreed."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from tests.record.rows import START, make_generation
from tests.record.test_window import record
from tests.ternary.test_conversion import write_dense
from typer.testing import CliRunner, Result

from liveweights.catalog.card import read_card
from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find
from liveweights.weights.registry import register

TOKENS = 64


@pytest.fixture
def base(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    base = find(str(write_dense(tmp_path / "dense")), tmp_path / "cache")

    async def tell() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await register(conn, base, read_card(base, tmp_path / "cache"))

    asyncio.run(tell())
    return base


def convert(folder: Path, *words: str, rules: str = "") -> Result:
    (folder / "settings.toml").write_text(f'cache = "{folder / "cache"}"\n{rules}')
    options = ["--group", "64", "--length", "32", "--rows", "8", "--recorded"]
    places = ["--home", str(folder), "--config", str(folder / "settings.toml")]
    target = ["ternary", "convert", str(folder / "dense"), str(folder / "out")]
    return CliRunner().invoke(app, [*target, *options, *places, *words])


def answer(dsn: str, id: str, checkpoint: str, number: int, *, consent: bool = True) -> None:
    record(dsn, make_generation(
        id, checkpoint=checkpoint, consent=consent, prompt_ids=list(range(number, number + 32)),
        output_ids=list(range(TOKENS - 32)), logprobs=[-1.0] * 32, raw_logprobs=[-1.0] * 32,
        created_at=START + timedelta(seconds=number),
    ))  # fmt: skip


def test_answers_with_consent_are_calibrated_on_and_named(
    database_dsn: str, base: Checkpoint, tmp_path: Path
) -> None:
    for number in range(3):
        answer(database_dsn, f"mine{number}", base.id, number)
    answer(database_dsn, "private", base.id, 10, consent=False)
    answer(database_dsn, "foreign", "other@000000000000", 11)
    done = convert(tmp_path)
    assert done.exit_code == 0, done.output
    noted = json.loads((tmp_path / "out" / "fitted_to.json").read_text())
    assert noted == {"generations": ["mine2", "mine1", "mine0"]}


def test_what_rules_keep_from_learning_is_left_unread_and_noted(
    database_dsn: str, base: Checkpoint, tmp_path: Path
) -> None:
    rule = '[[terms]]\nname = "ours"\nwhen = ["learn"]\nthen = "deny"\nreason = "agreed"\n'
    for number in range(3):
        answer(database_dsn, f"mine{number}", base.id, number)
    rules = f'[models.live]\nbase = "smollm2-135m-instruct"\n{rule}'
    refused = convert(tmp_path, rules=rules)
    assert refused.exit_code == 2
    assert f"nothing is recorded of {base.id}" in " ".join(refused.output.split())
    with psycopg.connect(database_dsn) as conn:
        rows = conn.execute("select model, action, rule from terms_denials").fetchall()
    assert rows == [("live", "learn", "ours")]


def test_where_nobody_agreed_nothing_is_written(
    database_dsn: str, base: Checkpoint, tmp_path: Path
) -> None:
    answer(database_dsn, "private", base.id, 10, consent=False)
    refused = convert(tmp_path)
    assert refused.exit_code == 2
    assert "nobody agreed to training" in " ".join(refused.output.split())
    assert not (tmp_path / "out").exists()


def test_there_must_be_something_to_read(base: Checkpoint, tmp_path: Path) -> None:
    words = ["ternary", "convert", str(base.folder), str(tmp_path / "out"), "--group", "64"]
    refused = CliRunner().invoke(app, [*words, "--home", str(tmp_path)])
    assert refused.exit_code == 2
    assert "--text FILE, or --recorded" in " ".join(refused.output.split())


def train(folder: Path, *words: str) -> Result:
    options = [
        "--length",
        "32",
        "--rows",
        "1",
        "--recorded",
        "--tokens",
        "256",
        "--save-every",
        "1",
    ]
    places = ["--home", str(folder), "--config", str(folder / "settings.toml")]
    models = [str(folder / one) for one in ("dense", "out", "trained")]
    state = ["--state", str(folder / "state"), "--steps", "2"]
    return CliRunner().invoke(app, ["ternary", "train", *models, *state, *options, *places, *words])


def test_training_goes_on_with_the_answers_that_it_began_with(
    database_dsn: str, base: Checkpoint, tmp_path: Path
) -> None:
    pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")
    for number in range(5):
        answer(database_dsn, f"mine{number}", base.id, number)
    assert convert(tmp_path).exit_code == 0
    first = train(tmp_path, "--json")
    assert first.exit_code == 0, first.output
    (tmp_path / "trained").rename(tmp_path / "before")
    answer(database_dsn, "newer", base.id, 20)
    again = train(tmp_path, "--json")
    assert again.exit_code == 0, again.output
    weights = [tmp_path / one / "model.safetensors" for one in ("before", "trained")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    noted = json.loads((tmp_path / "trained" / "fitted_to.json").read_text())
    assert "newer" not in noted["generations"]
    with psycopg.connect(database_dsn) as conn:
        conn.execute("delete from generations where id = 'mine3'")
    (tmp_path / "trained").rename(tmp_path / "after")
    refused = train(tmp_path)
    assert refused.exit_code == 2
    assert "1 of the 4 recorded answers" in " ".join(refused.output.split())
