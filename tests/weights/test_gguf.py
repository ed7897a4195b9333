"""GGUF from safetensors: held against Transformers on small random models."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines import reference

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Sampling, Token
from liveweights.engines.settings import EngineSettings
from liveweights.weights.adapters import to_gguf_adapter
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import (
    UnsupportedByLlamaCpp,
    permute_heads,
    restore_heads,
    to_gguf,
)
from liveweights.weights.models import load_tokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 50000.0},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
    "mistral": {"sliding_window": None, "head_dim": 32},
}


def make_model(family: str, folder: Path, tokenizer_from: Checkpoint, **options: Any) -> Checkpoint:
    """A small random model of a family, with values large enough to matter."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config: Any = AutoConfig.for_model(family, **{**SMALL, **FAMILIES.get(family, {}), **options})
    model: Any = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 or "bias" in name:
                weight.normal_(std=0.15)
    model.save_pretrained(folder)
    for file in tokenizer_from.folder.glob("tokenizer*"):
        shutil.copy(file, folder)
    return Checkpoint(f"{family}@{'0' * 12}", "base", folder)


def answer(cache: Path, base: Checkpoint, adapter: Checkpoint | None = None) -> list[Token]:
    async def work() -> list[Token]:
        settings = EngineSettings(precision="f32", context_length=128, slots=1)
        engine = LlamaEngine(base, cache, settings, load_tokenizer(base))
        served = adapter or base
        await engine.load(served, base if adapter else None)
        sampling = Sampling(max_tokens=12, temperature=1.0, seed=1)
        tokens = [t async for t in engine.generate(served.id, PROMPT, sampling)]
        await engine.close()
        return tokens

    return asyncio.run(work())


PROMPT = [400, 31, 7000, 216, 35, 36, 1200, 90]


def difference(model: Any, tokens: list[Token]) -> float:
    expected = reference.raw_logprobs(model, PROMPT, [t.id for t in tokens])
    return float(np.abs(np.array([t.raw_logprob for t in tokens]) - expected).mean())


@pytest.mark.model
@pytest.mark.parametrize("family", FAMILIES)
def test_families_compute_what_transformers_computes(
    family: str, base: Checkpoint, tmp_path: Path
) -> None:
    model = make_model(family, tmp_path / "model", base)
    tokens = answer(tmp_path, model)
    assert difference(reference.read(model.folder), tokens) < 0.02


@pytest.mark.model
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True, "lora_alpha": 5},
        {"alpha_pattern": {"v_proj": 3}, "rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {r"layers\.\d+\.self_attn\.[qv]_proj": 64}, "rank_pattern": {"q_.*": 2}},
    ],
)
def test_adapters_compute_what_peft_computes(
    options: dict[str, Any], base: Checkpoint, tmp_path: Path
) -> None:
    model = make_model("llama", tmp_path / "model", base)
    adapter = reference.make_adapter(model, tmp_path / "adapter", **options)
    tokens = answer(tmp_path, model, adapter)
    adapted = reference.read_adapted(model.folder, adapter.folder)
    assert difference(adapted, tokens) < 0.02
    assert difference(reference.read(model.folder), tokens) > 0.05


@pytest.mark.model
def test_requantising_gives_the_best_q8_of_the_same_weights(
    base: Checkpoint, model_cache: Path
) -> None:
    import gguf
    from safetensors import safe_open

    reader = gguf.GGUFReader(to_gguf(base, model_cache, "q8_0"))
    tensors = {t.name: t for t in reader.tensors}
    packed = tensors["blk.3.ffn_down.weight"]
    got = gguf.dequantize(packed.data, packed.tensor_type)
    with safe_open(base.folder / "model.safetensors", framework="np") as weights:
        expected = weights.get_tensor("model.layers.3.mlp.down_proj.weight")
    steps = np.abs(expected).reshape(-1, 32).max(axis=1, keepdims=True) / 127
    # Half a step, and the rounding of the step itself to float16: 127 / 2 ** 11 of a step.
    assert (np.abs(got - expected).reshape(-1, 32) <= steps * 0.57).all()


@pytest.mark.model
def test_what_llama_cpp_cannot_serve_says_what_can(base: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = make_model("llama", folder, base)

    def refused(why: str, **changes: Any) -> None:
        config = json.loads((folder / "config.json").read_text())
        (tmp_path / "changed").mkdir(exist_ok=True)
        shutil.copytree(folder, tmp_path / "changed", dirs_exist_ok=True)
        (tmp_path / "changed" / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(UnsupportedByLlamaCpp, match=why) as error:
            to_gguf(Checkpoint(model.id, "base", tmp_path / "changed"), tmp_path / "cache")
        assert "torch engine" in str(error.value)
        assert not list((tmp_path / "cache" / "gguf").glob("*.gguf"))

    refused("deepseek_v3", model_type="deepseek_v3")
    refused("scaled by 'yarn'", rope_parameters={"rope_type": "yarn", "rope_theta": 1e4})
    refused("sliding-window", sliding_window=64)
    refused("activation", hidden_act="gelu")
    (folder / "tokenizer.json").unlink()
    shutil.rmtree(tmp_path / "changed")
    refused("tokenizer.json")


@pytest.mark.model
def test_adapters_that_llama_cpp_cannot_serve_say_so(base: Checkpoint, tmp_path: Path) -> None:
    model = make_model("llama", tmp_path / "model", base)
    adapter = reference.make_adapter(model, tmp_path / "adapter", use_dora=True)
    with pytest.raises(UnsupportedByLlamaCpp, match="use_dora"):
        to_gguf_adapter(adapter, model, tmp_path)


def test_permuting_heads_turns_halves_into_neighbours() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(8, 1)
    assert permute_heads(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert permute_heads(rows.ravel(), 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_restored_heads_are_as_they_were(heads: int) -> None:
    rows = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    assert np.array_equal(restore_heads(permute_heads(rows, heads), heads), rows)
