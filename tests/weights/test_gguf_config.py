from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.weights.gguf_config import (
    find_obstacle,
    llama3_factors,
    make_config,
    yarn_parameters,
)

FACTS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.block_count": 1,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 512,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 500000.0,
    "tokenizer.ggml.tokens": ["a", "b"],
    "tokenizer.ggml.eos_token_id": 1,
}
LAYER = (
    *("attn_norm", "ffn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_gate", "ffn_up", "ffn_down"),
)
TENSORS = [
    *("token_embd.weight", "output_norm.weight"),
    *(f"blk.0.{part}.weight" for part in LAYER),
]


def factors(factor: float, theta: float = 500000.0, head_dim: int = 16) -> list[float]:
    return llama3_factors(theta, head_dim, factor, low=1.0, high=4.0, original=8192)


def test_a_config_says_what_the_metadata_says() -> None:
    config = make_config(FACTS, TENSORS, ())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["hidden_size"], config["head_dim"], config["num_key_value_heads"]) == (64, 16, 2)
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 500000.0}
    assert (config["vocab_size"], config["eos_token_id"]) == (2, 1)
    assert config["tie_word_embeddings"] is True
    assert make_config(FACTS, [*TENSORS, "output.weight"], ())["tie_word_embeddings"] is False


def test_sizes_are_known_of_an_architecture_that_is_not_learnt_from() -> None:
    facts = {key.replace("llama.", "glm4moe."): value for key, value in FACTS.items()}
    facts |= {"general.architecture": "glm4moe", "glm4moe.attention.head_count_kv": [2, 4]}
    config = make_config(facts, TENSORS, ())
    assert (config["model_type"], config["hidden_size"]) == ("glm4moe", 64)
    assert config["num_key_value_heads"] == 4  # the most that a layer has
    assert "rope_parameters" not in config
    assert "'glm4moe'; known are llama" in (find_obstacle(facts, TENSORS, ()) or "")


@given(st.sampled_from([8.0, 16.0, 32.0]), st.sampled_from([16, 64, 128]))
def test_the_frequencies_of_llama_3_are_those_of_transformers(factor: float, size: int) -> None:
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    facts = FACTS | {"llama.attention.key_length": size}
    written = torch.tensor(factors(factor, head_dim=size), dtype=torch.float32)
    rope = make_config(facts, TENSORS, written.tolist())["rope_parameters"]
    assert rope["rope_type"] == "llama3"
    config = LlamaConfig(head_dim=size, rope_parameters=rope)
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 500000.0 ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
    torch.testing.assert_close(theirs, plain / written, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("facts", "tensors", "rope", "why"),
    [
        ({}, [], [], None),
        ({}, ["output.weight"], [], None),
        ({}, ["rope_freqs.weight"], factors(32.0), None),
        ({}, ["rope_freqs.weight"], [1.0, 2.0] * 4, "are not Llama 3's"),
        ({"llama.expert_count": 8}, [], [], "llama.expert_count = 8"),
        ({"llama.attention.sliding_window": 64}, [], [], "sliding_window = 64"),
        ({"llama.rope.scaling.type": "yarn"}, [], [], "scaled by 'yarn'"),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}, [], [], None),
        ({"llama.rope.dimension_count": 8}, [], [], "a part of each head"),
        ({"llama.attention.head_count_kv": [1]}, [], [], "its layers differ"),
        ({"llama.feed_forward_length": None}, [], [], "does not say llama.feed_forward_length"),
        ({"llama.block_count": 2}, [], [], "it lacks 'blk.1.attn_k.weight'"),
        ({}, ["blk.0.attn_sinks"], [], "'blk.0.attn_sinks', which LlamaForCausalLM"),
        ({}, ["blk.0.attn_q.bias"], [], "it lacks 'blk.0.attn_k.bias'"),
    ],
)
def test_what_keeps_a_model_from_being_learnt_from(
    facts: dict[str, Any], tensors: list[str], rope: list[float], why: str | None
) -> None:
    found = find_obstacle(FACTS | facts, [*TENSORS, *tensors], rope)
    assert (found is None) if why is None else (why in (found or ""))


def yarn_facts(**more: Any) -> dict[str, Any]:
    said = {"type": "yarn", "factor": 4.0, "original_context_length": 4096, **more}
    return FACTS | {f"llama.rope.scaling.{name}": value for name, value in said.items()}


@pytest.mark.parametrize("size", [16, 64, 128])
def test_the_frequencies_of_yarn_are_those_of_llama_cpp(size: int) -> None:
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = yarn_parameters(yarn_facts(attn_factor=0.5))
    config = LlamaConfig(head_dim=size, rope_parameters=rope, max_position_embeddings=16384)
    theirs, attention = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))

    def turns(beta: float) -> float:  # ggml_rope_yarn_corr_dim
        return size * math.log(4096 / (beta * 2 * math.pi)) / (2 * math.log(500000.0))

    low, high = max(0, math.floor(turns(32))), min(size - 1, math.ceil(turns(1)))
    plain = 500000.0 ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
    ramp = (torch.arange(size // 2) - low) / max(0.001, high - low)
    mix = 1 - ramp.clamp(0, 1)  # rope_yarn
    torch.testing.assert_close(theirs, plain / 4 * (1 - mix) + plain * mix, rtol=1e-4, atol=0)
    assert attention == pytest.approx(0.5 * (1 + 0.1 * math.log(4)))


def test_yarn_that_says_more_than_transformers_computes_is_none() -> None:
    assert yarn_parameters(FACTS) is None
    assert yarn_parameters(yarn_facts(type="linear")) is None
    assert yarn_parameters(yarn_facts(yarn_log_multiplier=0.1)) is None
    assert yarn_parameters(yarn_facts()) is not None
