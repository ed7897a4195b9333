from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.learn.families import make_config, write_family
from tests.weights.gguf_files import facts_of, make_model, train_tokenizer, write_gguf
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.ternary.layers import TernaryEmbedding, TernaryLinear
from liveweights.ternary.reading import register
from liveweights.ternary.rounding import round_plainly

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")


def write_unpacked(folder: Path, *, tied: bool, family: str = "llama") -> Path:
    """A model in 16 bits whose matrices are ternary, embeddings too."""
    config = make_config(family)
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


def test_an_embedding_that_scales_stays_dense(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = write_unpacked(tmp_path / "source", tied=True, family="gemma")
    words = ["ternary", "import", str(source), str(tmp_path / "target")]
    run = CliRunner().invoke(app, [*words, "--home", str(tmp_path / "home")])
    assert run.exit_code == 0, run.output
    assert "14 ternary matrices" in run.output
    register()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        ours, theirs = (
            AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)(ids).logits
            for place in (tmp_path / "target", source)
        )
    assert (ours - theirs).abs().max() < 0.1 * theirs.abs().max()


def test_a_dense_model_is_refused(tmp_path: Path) -> None:
    source = write_family(make_config("llama"), tmp_path / "source")
    words = ["ternary", "import", str(source), str(tmp_path / "target")]
    run = CliRunner().invoke(app, [*words, "--home", str(tmp_path / "home")])
    assert run.exit_code == 2
    assert "holds no ternary matrix" in run.output


YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
        "original_max_position_embeddings": 128}  # fmt: skip


def import_gguf(folder: Path, options: dict[str, Any], extra: list[tuple[str, Any]]) -> Result:
    tokens = len(facts_of(train_tokenizer("qwen2"), "qwen2")["tokenizer.ggml.tokens"])
    sizes = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64, **options}
    model = make_model("qwen3", tokens, **sizes)
    file = write_gguf(folder / "m.gguf", "qwen3", "tq2_0", pre="qwen2", model=model, extra=extra)
    words = ["ternary", "import", str(file), str(folder / "target")]
    return CliRunner().invoke(app, [*words, "--home", str(folder / "home")])


def test_a_gguf_keeps_the_scaling_of_its_rotary_embedding(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    done = import_gguf(tmp_path, {"rope_parameters": YARN}, [])
    assert done.exit_code == 0, done.output
    register()
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "target", dtype=torch.float32)
    theirs = make_model("qwen3", 300, head_dim=64, rope_parameters=YARN).model.rotary_emb
    ours = model.model.rotary_emb
    torch.testing.assert_close(ours.inv_freq, theirs.inv_freq)
    assert ours.attention_scaling == pytest.approx(theirs.attention_scaling)
    assert ours.attention_scaling > 1.1


def test_a_gguf_of_which_transformers_computes_something_else_is_refused(tmp_path: Path) -> None:
    sinks = np.ones(4, np.float32)
    refused = import_gguf(tmp_path, {}, [("blk.0.attn_sinks.weight", sinks)])
    assert refused.exit_code == 2
    assert "has no place for" in " ".join(refused.output.split())
    assert not (tmp_path / "target").exists()
