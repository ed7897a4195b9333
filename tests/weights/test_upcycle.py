from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.learn.families import make_config, write_family
from tests.learn.voters import SOMEBODY
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.learn.policy import Policy
from liveweights.learn.rows import Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.update import update
from liveweights.weights.upcycle import CannotUpcycle, upcycle

IDS = torch.tensor([[1, 5, 9, 200, 33, 7, 8]])


def read(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize(
    ("family", "made"), [("llama", "mixtral"), ("qwen3", "qwen3_moe"), ("mistral", "mixtral")]
)
@torch.no_grad()
def test_it_computes_the_same_at_the_start(family: str, made: str, tmp_path: Path) -> None:
    dense = write_family(make_config(family), tmp_path / "dense")
    found = upcycle(dense, tmp_path / "sparse", experts=3, top_k=2)
    sparse = read(tmp_path / "sparse")
    assert sparse.config.model_type == made
    assert float((sparse(IDS).logits - read(dense)(IDS).logits).abs().max()) < 1e-4
    assert found.whole == sum(p.numel() for p in sparse.parameters())
    assert found.dense < found.active < found.whole
    assert (tmp_path / "sparse" / "tokenizer.json").is_file()


def test_its_experts_come_apart(tmp_path: Path) -> None:
    dense = write_family(make_config("llama"), tmp_path / "dense")
    upcycle(dense, tmp_path / "sparse", experts=4, top_k=1)
    settings = LearnSettings(adapt=("experts",), rank=2, learning_rate=1e-2, nodes=64)
    policy = Policy(tmp_path / "sparse", None, settings)
    rows = [
        Row("correction", "g", "s", SOMEBODY, [7 * n, 3], [n, 9], 1.0, [], 1.0) for n in range(1, 9)
    ]
    update(policy, rows, settings)
    changed = policy.model.merge_and_unload().state_dict()
    weights_E = changed["model.layers.0.mlp.experts.down_proj"]
    assert not torch.equal(weights_E[0], weights_E[1])


def test_what_cannot_be_upcycled_is_refused(tmp_path: Path) -> None:
    other = write_family(make_config("gpt2"), tmp_path / "gpt2")
    with pytest.raises(CannotUpcycle, match="family 'gpt2'"):
        upcycle(other, tmp_path / "out")
    biased = make_config("llama")
    biased.attention_bias = True
    with pytest.raises(CannotUpcycle, match="biases"):
        upcycle(write_family(biased, tmp_path / "biased"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    dense = write_family(make_config("llama"), tmp_path / "dense")
    run = CliRunner().invoke(app, ["upcycle", str(dense), str(tmp_path / "moe"), "--experts", "2"])
    assert run.exit_code == 0, run.output
    assert "parameters" in run.output
    again = CliRunner().invoke(app, ["upcycle", str(dense), str(tmp_path / "moe")])
    assert again.exit_code == 2
    assert "is there already" in again.output
