"""A mixture of experts made of a dense checkpoint (sparse upcycling, arXiv 2212.05055).

Every layer's MLP becomes ``experts`` copies of itself behind a router that picks ``top_k`` of
them for each token. The chosen weights sum to one, so that the new model computes what the dense
one did, until updates make its experts differ.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from liveweights.weights.content import weight_files
from liveweights.weights.loading import load_causal
from liveweights.weights.models import parameters

ROUTER_STD = 0.02
TOLERANCE = 1e-3
"""Most that a logit may differ between the two, as a share of the largest one; rounding in
float32 is a tenth of that."""

_KEPT = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
    "rope_parameters", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id",
    "initializer_range", "attention_bias",
)  # fmt: skip


class CannotUpcycle(ValueError):
    """No mixture of experts computes what this checkpoint does; says why."""


@dataclass(frozen=True, slots=True)
class Upcycled:
    """Parameters before and after, those that one token uses, and the largest difference of a
    logit on a few tokens."""

    dense: int
    whole: int
    active: int
    difference: float


def upcycle(
    source: Path, target: Path, *, experts: int = 4, top_k: int = 2, seed: int = 0
) -> Upcycled:
    """Write a mixture of experts to the folder ``target``, which must not exist.

    Llama and Mistral become Mixtral, Qwen3 becomes Qwen3-MoE. Raises CannotUpcycle for other
    families and for what the new family does not have, ValueError for impossible numbers.
    """
    if not 1 <= top_k <= experts or experts < 2:
        raise ValueError("a router picks at least 1 of at least 2 experts, and not more than all")
    if target.exists():
        raise ValueError(f"{target} is there already")
    config = json.loads((source / "config.json").read_text())
    family = config.get("model_type")
    if family not in _FAMILIES:
        known = ", ".join(sorted(_FAMILIES))
        raise CannotUpcycle(f"{source} is of the family {family!r}; what can be upcycled: {known}")
    dense: Any = load_causal(source).eval()
    torch.manual_seed(seed)
    sparse = _FAMILIES[family](dense.config, experts, top_k).to(dense.dtype).eval()
    _fill(dense, sparse, experts)
    difference, largest = _difference(dense, sparse)
    if not difference <= TOLERANCE * largest:
        raise CannotUpcycle(
            f"the new model's logits differ by {difference:.3g}: nothing is written"
        )
    sparse.save_pretrained(target, safe_serialization=True)
    for file in source.iterdir():
        kept = file.is_file() and not (target / file.name).exists()
        if kept and file not in weight_files(source) and file.suffix != ".safetensors":
            shutil.copy2(file, target / file.name)
    whole = parameters(target)
    idle = (experts - top_k) * sum(
        p.numel() // experts for n, p in sparse.named_parameters() if ".experts." in n
    )
    return Upcycled(parameters(source), whole, whole - idle, difference)


def _mixtral(config: Any, experts: int, top_k: int) -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        raise CannotUpcycle("its linear layers have biases, which Mixtral's do not")
    kept = {k: getattr(config, k) for k in _KEPT if hasattr(config, k) and k != "attention_bias"}
    return MixtralForCausalLM(
        MixtralConfig(
            **kept,
            intermediate_size=config.intermediate_size,
            sliding_window=getattr(config, "sliding_window", None),
            num_local_experts=experts,
            num_experts_per_tok=top_k,
        )
    )


def _qwen3_moe(config: Any, experts: int, top_k: int) -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    kept = {k: getattr(config, k) for k in _KEPT if hasattr(config, k)}
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            **kept,
            intermediate_size=config.intermediate_size,
            moe_intermediate_size=config.intermediate_size,
            num_experts=experts,
            num_experts_per_tok=top_k,
            norm_topk_prob=True,
        )
    )


_FAMILIES: dict[str, Callable[[Any, int, int], Any]] = {
    "llama": _mixtral,
    "mistral": _mixtral,
    "qwen3": _qwen3_moe,
}


@torch.no_grad()
def _fill(dense: Any, sparse: Any, experts: int) -> None:
    """Copy everything but the MLPs, and each MLP into every expert."""
    old: dict[str, torch.Tensor] = dense.state_dict()
    new: dict[str, torch.Tensor] = sparse.state_dict()
    for name, tensor in new.items():
        layer, inside, part = name.partition(".mlp.")
        if not inside:
            tensor.copy_(old[name])
        elif part == "experts.gate_up_proj":
            gate, up = (old[f"{layer}.mlp.{p}.weight"] for p in ("gate_proj", "up_proj"))
            tensor.copy_(torch.cat([gate, up]).expand(experts, -1, -1))
        elif part == "experts.down_proj":
            tensor.copy_(old[f"{layer}.mlp.down_proj.weight"].expand(experts, -1, -1))
        elif part == "gate.weight":
            tensor.copy_(torch.randn_like(tensor) * ROUTER_STD)
        else:
            raise CannotUpcycle(f"the new model has {name}, of which the old one knows nothing")


@torch.no_grad()
def _difference(dense: Any, sparse: Any) -> tuple[float, float]:
    """The largest difference of a logit on a few tokens, and the largest logit."""
    ids_1T = torch.arange(1, 17)[None] % dense.config.vocab_size
    logits = dense(ids_1T).logits
    return float((logits - sparse(ids_1T).logits).abs().max()), float(logits.abs().max())
