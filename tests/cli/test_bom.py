"""``liveweights bom`` and ``verify-bom``, on a service that has learnt."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import claim, record
from typer.testing import CliRunner, Result

from liveweights.app.sources import make_sources
from liveweights.bom.document import write_document
from liveweights.bom.read import read_bill
from liveweights.cli import app
from liveweights.cli.context import read_config
from liveweights.config import DATABASE_URL
from liveweights.record.forget import forget
from liveweights.weights.signing import SIGNATURE, make_keys

pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")

BASE, LEARNT = "base@000000000000", "base@111111111111"
VERDICT = {
    "outcome": "PASS",
    "reasons": ["held-back reward is better"],
    "evidence": {
        "reward": {"mean": 0.1, "low": 0.02, "high": 0.18, "cases": 90, "sessions": 40},
    },
}
SETTINGS = """
[models.live]
base = "hf://Qwen/Qwen3-8B"

[models.big]
upstream = "https://upstream.example/v1"
upstream_model = "Kimi-K2.5"

[bom]
author = "Acme"
"""


DENYING = (
    SETTINGS
    + """
[models.denied]
base = "hf://openai/gpt-oss-20b"

[models.closed]
upstream = "https://upstream.example/v1"
upstream_model = "openai/gpt-oss-20b"

[[terms]]
name = "no-openai"
on = { maker = ["OpenAI"] }
then = "deny"
reason = "for the test"
"""
)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def service(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], str]:
    """Options of the commands, and the database of a service whose first cycle was promoted."""
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    files = {"model.safetensors": "a" * 64, "tokenizer.json": "b" * 64}
    with psycopg.connect(database_dsn) as conn:
        for id, kind, base, card in (
            (BASE, "base", None, {"files": files, "architecture": "Qwen3ForCausalLM"}),
            (LEARNT, "adapter", BASE, {"files": {"adapter_model.safetensors": "c" * 64}}),
        ):
            conn.execute(
                "insert into checkpoints (id, kind, folder, base, parent, card, created_at)"
                " values (%s, %s, '/nowhere', %s, %s, %s, '2026-11-01')",
                (id, kind, base, base, Jsonb(card)),
            )
        conn.execute("insert into aliases (name, live) values ('live', %s)", (LEARNT,))
        conn.execute(
            "insert into cycles (alias, state, incumbent, settings, started_at) values"
            " ('live', 'claiming', %s, '{}', '2026-11-01')",
            (BASE,),
        )
    record(
        database_dsn,
        *(make_generation(f"g{n}") for n in range(3)),
        *(make_feedback(f"f{n}", f"g{n}") for n in range(3)),
    )
    assert claim(database_dsn, 1).total == 3
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "update cycles set state = 'ended', outcome = 'promoted', candidate = %s,"
            " verdict = %s, ended_at = '2026-11-02'",
            (LEARNT, Jsonb(VERDICT)),
        )
    return ["--home", str(tmp_path), "--config", str(file)], database_dsn


def component(document: dict[str, Any], reference: str) -> dict[str, Any]:
    parts = [document["metadata"]["component"], *document["components"]]
    (one,) = (part for part in parts if part["bom-ref"] == reference)
    return one


def test_a_bill_is_made_checked_proved_and_found_out(
    service: tuple[list[str], str], tmp_path: Path
) -> None:
    options, dsn = service
    folder, proof = tmp_path / "bill", tmp_path / "proof.json"
    printed = run("bom", LEARNT, *options)
    assert printed.exit_code == 0, printed.output
    assert run("bom", LEARNT, *options).stdout == printed.stdout
    made = json.loads(printed.stdout)
    assert component(made, BASE)["manufacturer"]["name"] == "Alibaba (Qwen)"
    assert component(made, LEARNT)["pedigree"]["notes"] == f"{LEARNT} from {BASE}"
    assert "signed" not in printed.stdout
    assert made["metadata"]["timestamp"].startswith("2026-11-02")

    assert run("bom", LEARNT, "--to", str(folder), *options).exit_code == 0
    assert (folder / "bom.cdx.json").read_text() == printed.stdout
    checked = run("verify-bom", str(folder), "--record", *options)
    assert checked.exit_code == 0, checked.output
    assert "valid CycloneDX 1.7, as the record has it" in checked.stdout

    other = run("bom", LEARNT, "--format", "spdx", "--to", str(tmp_path / "spdx"), *options)
    assert other.exit_code == 0, other.output
    told = json.loads((tmp_path / "spdx" / "bom.spdx3.json").read_text())
    assert {one["type"] for one in told["@graph"]} > {"ai_AIPackage", "dataset_DatasetPackage"}
    assert "there are cyclonedx, spdx" in run("bom", LEARNT, "--format", "x", *options).stderr

    proved = run("bom", LEARNT, "--prove", "f1", *options)
    assert proved.exit_code == 0, proved.output
    proof.write_text(proved.stdout)
    checked = run("verify-bom", str(folder), "--proof", str(proof), *options)
    assert checked.exit_code == 0, checked.output
    proof.write_text(proved.stdout.replace('"f1"', '"f2"'))
    checked = run("verify-bom", str(folder), "--proof", str(proof), *options)
    assert checked.exit_code == 1
    assert "does not lead from its reaction to its root" in checked.stderr
    unread = run("bom", LEARNT, "--prove", "f9", *options)
    assert unread.exit_code == 2
    assert "no cycle that made this read the feedback 'f9'" in unread.stderr

    file = folder / "bom.cdx.json"
    for unsigned in (folder, file):
        checked = run("verify-bom", str(unsigned), "--key", str(tmp_path / "key.pub"), *options)
        assert checked.exit_code == 1
        assert f"{SIGNATURE} is missing" in " ".join(checked.stderr.split())
    file.write_text(printed.stdout.replace("Alibaba (Qwen)", "Somebody"))
    checked = run("verify-bom", str(folder), "--record", *options)
    assert checked.exit_code == 1
    assert "by the record it is 'Alibaba (Qwen)'" in checked.stderr
    file.write_text(printed.stdout.replace('"machine-learning-model"', '"magic"'))
    checked = run("verify-bom", str(file), *options)
    assert checked.exit_code == 1
    assert "does not keep to CycloneDX 1.7" in checked.stderr

    file.write_text('{"bomFormat": "CycloneDX", "specVersion": "1.7", "metadata": [1]}')
    checked = run("verify-bom", str(file), "--record", "--proof", str(proof), *options)
    assert checked.exit_code == 1
    assert "does not keep to CycloneDX 1.7" in checked.stderr

    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            await forget(conn, "default", "ada")

    asyncio.run(go())
    assert run("bom", LEARNT, *options).stdout == printed.stdout


def test_an_alias_and_the_service(service: tuple[list[str], str]) -> None:
    options, _ = service
    alias = json.loads(run("bom", "live", *options).stdout)
    assert alias["metadata"]["component"]["version"] == LEARNT
    assert "services" not in alias
    whole = json.loads(run("bom", "--all", *options).stdout)
    assert [one["name"] for one in whole["services"]] == ["big"]
    hosted = json.loads(run("bom", "big", *options).stdout)
    assert hosted["metadata"]["component"]["name"] == "big"
    shown = run("bom", "live", "--elements", *options)
    assert shown.exit_code == 0, shown.output
    assert "there   SBOM author" in shown.stdout
    assert "set `hardware` in [bom]" in shown.stdout
    listed = json.loads(run("bom", "live", "--elements", "--json", *options).stdout)
    assert len(listed) == 50


def test_the_whole_service_is_what_answers_in_it(service: tuple[list[str], str]) -> None:
    options, dsn = service
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('old@2', 'base', '/', '{}')"
        )
        conn.execute(
            "insert into aliases (name, live, model, tenant) values"
            " ('gone', 'old@2', null, null), ('denied', 'old@2', null, null),"
            " ('live:acme', %s, 'live', 'acme'), ('denied:acme', 'old@2', 'denied', 'acme')",
            (LEARNT,),
        )
    Path(options[-1]).write_text(DENYING)
    whole = json.loads(run("bom", "--all", *options).stdout)
    told = {one["name"] for one in whole["metadata"]["component"]["properties"]}
    assert {one for one in told if one.startswith("liveweights:alias:")} == {
        "liveweights:alias:live:live",
        "liveweights:alias:live:acme:live",
    }
    assert "old@2" not in json.dumps(whole)
    assert [one["name"] for one in whole["services"]] == ["big"]
    assert run("bom", "gone", *options).exit_code == 0  # what it was is still in the record
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select count(*) from terms_denials").fetchone() == (0,)

    async def ask() -> bytes:
        """As the console does."""
        settings = read_config(Path(options[-1]), Path(options[1]))
        sources = make_sources(lambda: settings, Path(options[1]))
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return write_document(await read_bill(conn, "", await sources.know_service(conn)))

    assert json.loads(asyncio.run(ask())) == whole


@pytest.mark.parametrize("subject", ["big", "live", LEARNT])
def test_a_bill_holds_on_another_day_and_machine_and_once_files_are_gone(
    service: tuple[list[str], str], tmp_path: Path, subject: str
) -> None:
    options, dsn = service
    folder = tmp_path / "bill"
    assert run("bom", subject, "--to", str(folder), *options).exit_code == 0
    here = tmp_path / "checkpoint"
    here.mkdir()
    (here / SIGNATURE).write_text("{}")
    with psycopg.connect(dsn) as conn:
        conn.execute("update checkpoints set folder = %s", (str(here),))
    signed = run("verify-bom", str(folder), "--record", *options)
    assert signed.exit_code == 0, signed.output
    with psycopg.connect(dsn) as conn:
        conn.execute("update checkpoints set pruned_at = now()")
        begun = conn.execute("select min(applied_at) from migrations").fetchone()
    assert begun is not None
    pruned = run("verify-bom", str(folder), "--record", *options)
    assert pruned.exit_code == 0, pruned.output
    if subject == "big":
        made = json.loads((folder / "bom.cdx.json").read_text())
        assert datetime.fromisoformat(made["metadata"]["timestamp"]) == begun[0]


def test_what_cannot_be_billed_says_why(service: tuple[list[str], str], tmp_path: Path) -> None:
    options, _ = service
    for words, why in (
        (["bom"], "name a checkpoint or an alias, or give --all"),
        (["bom", "live", "--all"], "name a checkpoint or an alias, or give --all"),
        (["bom", "nobody@1"], "no checkpoint 'nobody@1' is registered"),
        (["bom", "live", "--to", str(tmp_path)], "name a new folder"),
        (["verify-bom", str(tmp_path / "none")], "No such file"),
        (["verify-bom", str(tmp_path / "settings.toml")], "it is no JSON"),
    ):
        result = run(*words, *options)
        assert result.exit_code == 2, result.output
        assert why in result.stderr


def test_a_signed_bill_holds_until_a_byte_is_changed(
    service: tuple[list[str], str], tmp_path: Path
) -> None:
    pytest.importorskip("model_signing", reason="pip install 'liveweights[signing]'")
    options, _ = service
    key, folder = tmp_path / "key", tmp_path / "bill"
    public = make_keys(key)
    settings = Path(options[-1])
    settings.write_text(f'{SETTINGS}\n[signing]\nkey = "{key}"\npublic_key = "{public}"\n')
    made = run("bom", "live", "--to", str(folder), "--elements", *options)
    assert made.exit_code == 0, made.output
    assert "there   SBOM author signature" in made.stdout
    assert "signed" in run("verify-bom", str(folder), *options).stdout
    stranger = make_keys(tmp_path / "stranger")
    refused = run("verify-bom", str(folder), "--key", str(stranger), *options)
    assert refused.exit_code == 1
    file = folder / "bom.cdx.json"
    with_key = ["verify-bom", str(file), "--key", str(public), *options]
    assert "signed" in run("verify-bom", str(file), *options).stdout
    assert "signed" in run(*with_key).stdout
    file.write_bytes(file.read_bytes() + b" ")
    for words in (["verify-bom", str(folder), *options], with_key):
        refused = run(*words)
        assert refused.exit_code == 1
        assert "does not hold" in refused.stderr
    (folder / SIGNATURE).unlink()
    refused = run(*with_key)
    assert refused.exit_code == 1
    assert "is missing" in refused.stderr
    plain = run("verify-bom", str(file), *options)
    assert (plain.exit_code, "signed" in plain.stdout) == (0, False)
