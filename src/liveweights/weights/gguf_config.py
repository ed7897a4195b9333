"""What a GGUF's metadata says of the model, as Transformers' ``config.json`` says it.

Keys are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, without the
architecture before them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""Architectures whose weights Transformers computes as llama.cpp does, and their classes."""
ROPE_FACTORS = "rope_freqs.weight"
_NAMES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
_THETA = 10000.0
_TOLERANCE = 1e-4
_LLAMA3 = (("low_freq_factor", 1.0), ("high_freq_factor", 4.0),
           ("original_max_position_embeddings", 8192))  # fmt: skip
"""What Llama 3.1, 3.2 and 3.3 have in common: only the factor differs."""
_YARN = {"type", "factor", "original_context_length", "finetuned", "attn_factor",
         "yarn_beta_fast", "yarn_beta_slow"}  # fmt: skip
"""What Transformers has words for."""


def make_config(
    facts: Mapping[str, Any], tensors: Sequence[str], rope_factors: Sequence[float]
) -> dict[str, Any]:
    """The config of the model with that metadata and ``tensors`` of those names.

    ``rope_factors`` are the values of ``rope_freqs.weight``, none where there is none. Of an
    architecture that is not one of ``CLASSES`` it holds the sizes only.
    """
    kind = str(facts["general.architecture"])
    config: dict[str, Any] = {
        name: _largest(value)
        for name, key in _NAMES.items()
        if (value := facts.get(f"{kind}.{key}")) is not None
    }
    heads = config.get("num_attention_heads")
    if heads and "head_dim" not in config and "hidden_size" in config:
        config["head_dim"] = config["hidden_size"] // heads
    if heads:
        config.setdefault("num_key_value_heads", heads)
    config |= {
        "model_type": kind,
        "architectures": [CLASSES.get(kind, kind)],
        "dtype": "float32",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": "output.weight" not in tensors,
    }
    for name in ("bos", "eos"):
        if (id := facts.get(f"tokenizer.ggml.{name}_token_id")) is not None:
            config[f"{name}_token_id"] = id
    if kind in CLASSES:
        config |= {
            "hidden_act": "silu",
            "attention_bias": kind == "qwen2" or "blk.0.attn_q.bias" in tensors,
            "rope_parameters": _rope(facts, kind, rope_factors, config.get("head_dim", 0)),
        }
    if kind == "llama":
        config["mlp_bias"] = "blk.0.ffn_up.bias" in tensors
    if kind != "llama" and kind in CLASSES:
        config["use_sliding_window"] = False
    return config


def find_obstacle(
    facts: Mapping[str, Any], tensors: Sequence[str], rope_factors: Sequence[float]
) -> str | None:
    """Why Transformers would not compute what llama.cpp computes; None where it would."""
    kind = str(facts["general.architecture"])
    if kind not in CLASSES:
        return f"its architecture is {kind!r}; known are {', '.join(CLASSES)}"
    for key in ("expert_count", "attention.sliding_window"):
        if facts.get(f"{kind}.{key}"):
            return f"it has {kind}.{key} = {facts[f'{kind}.{key}']}"
    config = make_config(facts, tensors, rope_factors)
    lacking = sorted(_NAMES.keys() - config.keys())
    if lacking:
        return f"it does not say {kind}.{_NAMES[lacking[0]]}"
    lists = [key for key in _NAMES.values() if isinstance(facts.get(f"{kind}.{key}"), list)]
    if lists:
        return f"its layers differ by {kind}.{lists[0]}"
    if facts.get(f"{kind}.rope.dimension_count", config["head_dim"]) != config["head_dim"]:
        return "only a part of each head is rotated"
    scaling = facts.get(f"{kind}.rope.scaling.type", "none")
    if scaling not in {"none", "linear"}:
        return f"its rotary embedding is scaled by {scaling!r}"
    if rope_factors and config["rope_parameters"]["rope_type"] != "llama3":
        return f"the factors of its rotary embedding in {ROPE_FACTORS} are not Llama 3's"
    expected = _expected(kind, config)
    if others := sorted(set(tensors) - expected - {"output.weight", ROPE_FACTORS}):
        return f"it has {others[0]!r}, which {CLASSES[kind]} has no place for"
    if lacking := sorted(expected - set(tensors)):
        return f"it lacks {lacking[0]!r}, which {CLASSES[kind]} has"
    return None


def yarn_parameters(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Transformers' ``rope_parameters`` of a rotary embedding that is scaled by YaRN (arXiv
    2309.00071); None of any other, and where it says more than Transformers computes.

    ``make_config`` leaves it out: the ids of bases cover what that gives.
    """
    kind = str(facts["general.architecture"])
    begin = f"{kind}.rope.scaling."
    said = {key.removeprefix(begin): value for key, value in facts.items() if key.startswith(begin)}
    if said.get("type") != "yarn" or said.keys() - _YARN or not said.get("factor", 0) > 1:
        return None
    factor = float(said["factor"])
    original = said.get("original_context_length") or facts[f"{kind}.context_length"]
    return {
        "rope_type": "yarn",
        "rope_theta": float(facts.get(f"{kind}.rope.freq_base", _THETA)),
        "factor": factor,
        "original_max_position_embeddings": int(original),
        "attention_factor": float(said.get("attn_factor", 1.0)) * (1 + 0.1 * math.log(factor)),
        "beta_fast": float(said.get("yarn_beta_fast", 32.0)),
        "beta_slow": float(said.get("yarn_beta_slow", 1.0)),
    }


def _expected(kind: str, config: Mapping[str, Any]) -> set[str]:
    """Names of the tensors that hold the parameters of the class; without those of its head."""
    parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    biased: list[str] = []
    if config["attention_bias"]:
        biased += parts[:3] if kind == "qwen2" else parts[:4]
    if config.get("mlp_bias"):
        biased += parts[4:]
    parts += ["attn_norm", "ffn_norm"]
    if kind == "qwen3":
        parts += ["attn_q_norm", "attn_k_norm"]
    within = [f"{part}.weight" for part in parts] + [f"{part}.bias" for part in biased]
    layers = range(config["num_hidden_layers"])
    return {"token_embd.weight", "output_norm.weight"} | {
        f"blk.{layer}.{name}" for layer in layers for name in within
    }


def llama3_factors(
    theta: float, head_dim: int, factor: float, *, low: float, high: float, original: float
) -> list[float]:
    """By what each of ``head_dim / 2`` frequencies is divided (``compute_llama3_parameters`` in
    ``llama.cpp/convert_hf_to_gguf.py``)."""
    factors: list[float] = []
    for pair in range(head_dim // 2):
        wavelength = 2 * math.pi * theta ** (2 * pair / head_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def _rope(
    facts: Mapping[str, Any], kind: str, factors: Sequence[float], head_dim: int
) -> dict[str, Any]:
    theta = float(facts.get(f"{kind}.rope.freq_base", _THETA))
    plain: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    if facts.get(f"{kind}.rope.scaling.type") == "linear":
        factor = float(facts.get(f"{kind}.rope.scaling.factor", 1.0))
        return plain | {"rope_type": "linear", "factor": factor}
    if not factors:
        return plain
    common = dict(_LLAMA3)
    expected = llama3_factors(
        theta,
        head_dim,
        max(factors),
        low=common["low_freq_factor"],
        high=common["high_freq_factor"],
        original=common["original_max_position_embeddings"],
    )
    if len(expected) != len(factors) or not all(
        math.isclose(one, other, rel_tol=_TOLERANCE)
        for one, other in zip(expected, factors, strict=True)
    ):
        return plain
    return plain | {"rope_type": "llama3", "factor": float(max(factors)), **common}


def _largest(value: Any) -> Any:
    """Of a number for each layer the largest."""
    return max(value) if isinstance(value, list) and value else value
