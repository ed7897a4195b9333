"""How many tokens a request may have where the settings leave it open."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.families import FAMILIES, make_config

from liveweights.engines import context
from liveweights.engines.context import cache_bytes, choose_context, fit_context, with_context
from liveweights.engines.settings import EngineSettings
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.context import LEAST

GIB = 2**30
QWEN = {  # Qwen2.5-0.5B's
    "max_position_embeddings": 32768,
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}


def model(folder: Path, config: dict[str, Any], weights: int = 0) -> Checkpoint:
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(weights)
    return Checkpoint("tiny@000000000000", "base", folder)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_token_takes_what_transformers_keeps_of_it(name: str) -> None:
    from transformers import AutoModelForCausalLM

    config = make_config(name)
    network: Any = AutoModelForCausalLM.from_config(config).eval()
    length = 6
    with torch.inference_mode():
        kept = network(input_ids=torch.zeros(1, length, dtype=torch.long), use_cache=True)
    tensors = [
        tensor
        for layer in kept.past_key_values.layers
        for kind in ("keys", "values")
        if isinstance(tensor := getattr(layer, kind, None), torch.Tensor)
    ]
    found = sum(tensor.nbytes for tensor in tensors)
    assert found
    assert cache_bytes(json.loads(config.to_json_string(use_diff=False)), 4) == found / length


def test_a_model_inside_of_a_larger_one_is_found() -> None:
    assert cache_bytes({"text_config": QWEN}, 2) == 24 * 2 * 2 * 64 * 2


@given(
    own=st.integers(1, 2**20),
    token_bytes=st.integers(0, 2**20),
    rows=st.integers(1, 256),
    memory=st.integers(0, 2**40),
)
def test_what_is_chosen_fits(own: int, token_bytes: int, rows: int, memory: int) -> None:
    chosen = fit_context(own, token_bytes, rows=rows, memory=memory)
    assert min(own, LEAST) <= chosen <= own
    if chosen > LEAST:
        assert rows * chosen * token_bytes <= memory
    assert chosen <= fit_context(own, token_bytes, rows=rows, memory=2 * memory)


def test_a_long_context_is_served_whole_where_memory_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(context, "available_memory", lambda: 64 * GIB)
    caplog.set_level(logging.INFO)
    base = model(tmp_path, QWEN, weights=GIB)
    assert with_context(base, EngineSettings(), residents=4).context_length == 32768
    assert "context of 32768 tokens: what tiny@000000000000 was made for" in caplog.text


def test_a_small_machine_serves_less_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(context, "available_memory", lambda: 8 * GIB)
    caplog.set_level(logging.INFO)
    base = model(tmp_path, QWEN, weights=GIB)
    settings = EngineSettings(slots=4)
    chosen = with_context(base, settings, residents=4).context_length
    assert 4 * 4 * chosen * 12288 <= 3 * GIB < 4 * 4 * (chosen + 256) * 12288
    assert f"context of {chosen} tokens: tiny@000000000000 was made for 32768" in caplog.text
    assert "engine.context_length" in caplog.text
    half = with_context(base, EngineSettings(kind="torch"), residents=4).context_length
    assert half == chosen // 2 // 256 * 256  # its values are float32
    monkeypatch.setattr(context, "available_memory", lambda: 0)
    assert with_context(base, settings, residents=4).context_length == LEAST


def test_a_setting_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "available_memory", lambda: 0)
    given = EngineSettings(context_length=100_000)
    assert with_context(model(tmp_path, QWEN), given) is given
    with pytest.raises(ValueError, match="say 0 or at least 64"):
        EngineSettings(context_length=63)


def test_a_model_that_says_nothing_gets_what_any_model_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert choose_context(model(tmp_path, {}), 2, rows=1, memory=GIB) == LEAST
    assert "does not say" in caplog.text


@pytest.mark.model
def test_the_packaged_model_is_served_as_long_as_it_was_made_for(base: Checkpoint) -> None:
    assert choose_context(base, 2, rows=1, memory=GIB) == 8192
