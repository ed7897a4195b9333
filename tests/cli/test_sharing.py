"""``liveweights import-checkpoint``: from a folder of somebody else to a registered checkpoint."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import psycopg
import pytest
import torch
from safetensors.torch import save_file
from tests.audit import read_changes
from tests.learn.families import make_family
from typer.testing import CliRunner, Result

from liveweights.catalog.card import read_card
from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.release import aliases
from liveweights.weights.models import find
from liveweights.weights.registry import register
from liveweights.weights.tensors import read_shapes


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_an_adapter_is_stored_by_its_content_with_foreign_lineage(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    base = find(str(make_family("qwen3", tmp_path / "tiny")), tmp_path / "cache")

    async def tell() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await register(conn, base, read_card(base, tmp_path / "cache"))
            await aliases.create(conn, "live", base.id)

    asyncio.run(tell())
    folder = tmp_path / "theirs"
    folder.mkdir()
    name = "model.layers.0.self_attn.q_proj"
    out, inner = read_shapes(base.folder)[f"{name}.weight"]
    tensors = {
        f"base_model.model.{name}.lora_A.weight": torch.ones(2, inner),
        f"base_model.model.{name}.lora_B.weight": torch.ones(out, 2),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": [name]}
    config |= {"base_model_name_or_path": "org/x"}
    (folder / "adapter_config.json").write_text(json.dumps(config))

    words = ["import-checkpoint", str(folder), "--licence", "Apache-2.0", "--home", str(tmp_path)]
    taken = run(*words, "--base", "live")
    assert taken.exit_code == 0, taken.output
    assert "org/x, which proves nothing" in taken.stdout
    id = next(line for line in taken.stdout.splitlines() if "is registered" in line).split()[0]
    assert run(*words, "--base", base.id).stdout == taken.stdout  # the same content again
    lineage = json.loads(run("lineage", id, "--json", "--home", str(tmp_path)).stdout)
    assert [one["id"] for one in lineage["chain"]] == [id, base.id]
    card = json.loads((tmp_path / "checkpoints" / id / "card.json").read_text())
    assert (card["foreign"], card["licence"], card["base"]) == (True, "Apache-2.0", base.id)
    assert run("verify", id, "--home", str(tmp_path)).exit_code == 0

    for more, why in (
        (["--base", "nobody"], "no checkpoint 'nobody' is registered"),
        (["--base", id], "rank"),
    ):
        again = run(*words, *more)
        assert why in again.output
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": "2"}))
    refused = run(*words, "--base", "live")
    assert (refused.exit_code, "PEFT makes no adapter" in refused.stderr) == (2, True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert read_changes(database_dsn) == [("command", "import checkpoint", id)]
    (folder / "weights.pt").write_bytes(b"")
    refused = run(*words, "--base", "live")
    assert refused.exit_code == 2
    assert "may be a pickle" in refused.stderr
    nowhere = run("import-checkpoint", str(tmp_path / "no"), *words[2:], "--base", "live")
    assert "there is no such folder" in nowhere.stderr
