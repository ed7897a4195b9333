from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.learn.families import make_config, write_family
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.ternary.layers import TernaryEmbedding, TernaryLinear
from liveweights.ternary.reading import register
from liveweights.ternary.rounding import round_plainly

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")


def write_unpacked(folder: Path, *, tied: bool) -> Path:
    """A model in 16 bits whose matrices are ternary, embeddings too."""
    config = make_config("llama")
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 16
    config.tie_word_embeddings = tied
    torch.manual_seed(6)
    write_family(config, folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, weight in tensors.items():
        if weight.ndim == 2:
            tensors[name] = torch.from_numpy(round_plainly(weight, 64).dequantise()).half()
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_an_unpacked_checkpoint_is_packed_as_it_is(tied: bool, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source, target = write_unpacked(tmp_path / "source", tied=tied), tmp_path / "target"
    words = ["ternary", "import", str(source), str(target), "--home", str(tmp_path / "home")]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.output
    assert "16 ternary matrices with a scale per 64 weights" in run.output
    register()
    model: Any = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    dense: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    count = 0
    for name, layer in model.named_modules():
        if isinstance(layer, TernaryLinear | TernaryEmbedding):
            count += 1
            weight = dense.get_submodule(name).weight
            assert torch.equal(layer.dequantise(torch.float32), weight)
    assert count == 16
    config = json.loads((target / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "there already" in again.output


def test_a_dense_model_is_refused(tmp_path: Path) -> None:
    source = write_family(make_config("llama"), tmp_path / "source")
    words = ["ternary", "import", str(source), str(tmp_path / "target")]
    run = CliRunner().invoke(app, [*words, "--home", str(tmp_path / "home")])
    assert run.exit_code == 2
    assert "holds no ternary matrix" in run.output
