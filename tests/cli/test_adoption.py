"""``liveweights adoption`` and ``insight adoption``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.record.rows import make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL

SETTINGS = """
[models.code]
base = "hf://Qwen/Qwen3-8B"

[models.open]
base = "hf://openai/gpt-oss-20b"
"""
FIGURES = """model,day,downloads,derivatives,source
Qwen/Qwen3-8B,2025-05-06,70000,3,hub
Qwen/Qwen2.5-7B-Instruct,2024-10-01,30000,,hub
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def options(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    now = datetime.now(UTC)
    aliases = ["code", "code", "code", "open"]
    record(
        database_dsn,
        *(make_generation(f"g{n}", alias=a, created_at=now) for n, a in enumerate(aliases)),
    )
    return ["--home", str(tmp_path), "--config", str(file)]


def test_own_shares_and_published_figures(options: list[str], tmp_path: Path) -> None:
    told = json.loads(run("insight", "adoption", "--json", *options).stdout)
    assert {one["value"]: one["answer_share"] for one in told} == {"CN": 0.75, "US": 0.25}
    shown = run("insight", "adoption", "--by", "maker", *options)
    assert "75.0%" in shown.stdout
    picture = tmp_path / "shares.svg"
    assert run("insight", "adoption", "--plot", str(picture), *options).exit_code == 0
    assert "<svg" in picture.read_text()

    file = tmp_path / "figures.csv"
    file.write_text(FIGURES)
    for _ in range(2):
        kept = run("adoption", "import", str(file), *options)
        assert kept.exit_code == 0, kept.output
        assert kept.stdout == "2 figures kept\n"
    rows = json.loads(run("adoption", "relative", "--json", *options).stdout)
    assert {one["model"] for one in rows} == {"Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B-Instruct"}
    one = json.loads(run("adoption", "relative", "Qwen3-8B", "--json", *options).stdout)
    assert [(row["day"], row["downloads"], row["sources"]) for row in one] == [(7, 70000, ["hub"])]
    assert one[0]["size"] == "7-9B"

    file.write_text(FIGURES + "nobody,2026-01-01,1,,x\n")
    wrong = run("adoption", "import", str(file), *options)
    assert wrong.exit_code == 2
    assert "line 4" in wrong.stderr
