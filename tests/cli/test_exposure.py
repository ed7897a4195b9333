"""``liveweights exposure``, with and without what the service stands on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL

SETTINGS = """
[models.code]
base = "hf://Qwen/Qwen3-8B"

[models.open]
base = "hf://openai/gpt-oss-20b"

[models.big]
upstream = "https://api.moonshot.ai/v1"
upstream_model = "Kimi-K2.5"

[[terms]]
name = "no-licence-no-use"
on = { licence_kind = ["unknown"] }
then = "deny"
reason = "nothing without a licence"
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["exposure", *words])


@pytest.fixture
def options(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    now = datetime.now(UTC)
    aliases = ["code", "code", "open", "big"]
    record(
        database_dsn,
        *(make_generation(f"g{n}", alias=a, created_at=now) for n, a in enumerate(aliases)),
        make_feedback("f0", "g0", received_at=now),
        make_feedback("f2", "g2", received_at=now, signal="rejected"),
    )
    return ["--home", str(tmp_path), "--config", str(file)]


def test_it_says_who_carries_the_traffic(options: list[str]) -> None:
    printed = run(*options)
    assert printed.exit_code == 0, printed.output
    assert "not legal advice" in printed.stdout
    assert "## By maker" in printed.stdout
    told = json.loads(run("--json", *options).stdout)
    makers = {one["value"]: one["answer_share"] for one in told["shares"]["maker"]}
    assert makers == {"Alibaba (Qwen)": 0.5, "Moonshot AI": 0.25, "OpenAI": 0.25}
    upstreams = {one["value"]: one["aliases"] for one in told["shares"]["upstream"]}
    assert upstreams == {"this service": ["code", "open"], "api.moonshot.ai": ["big"]}
    (week,) = told["concentration"]["country"]
    assert week["index"] == pytest.approx(0.75**2 + 0.25**2)
    kimi = [one for one in told["duties"] if one["aliases"] == ["big"]]
    assert {one["state"] for one in kimi} >= {"not by own figures"}
    assert any(one["alias"] == "code" for one in told["rules"])


def test_it_says_what_would_take_the_place_of_what_goes(options: list[str]) -> None:
    told = json.loads(run("--without", "origin=CN", "--json", *options).stdout)
    assert told["without"] == ["country CN"]
    code, big = told["losses"]
    assert (code["alias"], big["alias"]) == ("code", "big")
    assert code["substitutes"][0]["name"] == "open"
    assert code["relearning"]["reactions"] == 1
    assert code["removed"]["no-licence-no-use"] > 0
    assert big["substitutes"][0]["cost"]["before"] > 0
    printed = run("--without", "origin=CN", *options)
    assert "## code would be gone" in printed.stdout
    assert "no model of this service is gone" in run("--without", "origin=FR", *options).stdout


def test_what_is_not_understood_is_refused(options: list[str]) -> None:
    for words, why in (
        (["--without", "CN"], "write NAME=VALUE"),
        (["--without", "origin=China"], "two letters"),
        (["--without", "maker=Moonshoot"], "Moonshot AI"),
        (["--since", "yesterday"], "is not a time"),
    ):
        result = run(*words, *options)
        assert result.exit_code == 2
        assert why in result.stderr
