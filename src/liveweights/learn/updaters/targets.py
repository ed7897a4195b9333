"""Which weights of a model LoRA adapts: by what they are for, not by family.

Routers and the output embedding are never adapted. In Transformers 5 the experts of a layer are
fused: three-dimensional parameters of one module, which ``target_modules`` cannot name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["attention", "mlp", "experts"]

_ATTENTION = {"self_attn", "attn", "attention", "linear_attn", "self_attention"}
_EXPERT_LEAVES = {"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
_ROUTERS = {"gate", "router", "shared_expert_gate"}


@dataclass(frozen=True, slots=True)
class Targets:
    """PEFT's ``target_modules`` and ``target_parameters``; ``transposed`` are Conv1D weights."""

    modules: list[str]
    parameters: list[str]
    transposed: bool


def find_targets(model: Any, parts: Collection[Part]) -> Targets:
    """What to adapt so that exactly ``parts`` of the model change.

    Raises ValueError where the model has none of them.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    known = find_parts(model)
    by_leaf: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    transposed = False
    for name, module in model.named_modules():
        if not isinstance(module, (torch.nn.Linear, Conv1D)):
            continue
        wanted = known.get(name) in parts
        transposed |= wanted and isinstance(module, Conv1D)
        by_leaf[name.rpartition(".")[2]][name] = wanted
    fused = {f"experts.{leaf}" for leaf in _fused(model)}
    modules: list[str] = []
    parameters = sorted(fused) if "experts" in parts else []
    for leaf, by_name in by_leaf.items():
        # A leaf name stands for all modules of that name; where some stay, the others are spelt.
        names = [leaf] if all(by_name.values()) else [n for n, wanted in by_name.items() if wanted]
        if fused and leaf in _EXPERT_LEAVES:
            # PEFT takes these names for those of experts before they were fused.
            parameters += [f"{name}.weight" for name, wanted in by_name.items() if wanted]
        else:
            modules += names
    if not modules and not parameters:
        raise ValueError(
            f"{type(model).__name__} has no weights that are {' or '.join(sorted(parts))}:"
            " change learn.adapt"
        )
    return Targets(modules, parameters, transposed)


def find_parts(model: Any) -> dict[str, Part]:
    """What each module that `find_targets` may choose weights of is for, by its name."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    parts: dict[str, Part] = {}
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "experts" and any(
            parameter.ndim == 3 for parameter in module.parameters(recurse=False)
        ):
            parts[name] = "experts"
        elif isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head:
            part = _part_of(name, model.get_submodule(name.rpartition(".")[0]))
            if part is not None:
                parts[name] = part
    return parts


def _fused(model: Any) -> Iterator[str]:
    """Names of three-dimensional expert weights."""
    for name, parameter in model.named_parameters():
        path, _, leaf = name.rpartition(".")
        if path.rpartition(".")[2] == "experts" and parameter.ndim == 3:
            yield leaf


def _part_of(name: str, owner: Any) -> Part | None:
    """What a linear layer is for; None for a router and for what fused kernels read past it."""
    *path, leaf = name.split(".")
    if leaf in _ROUTERS:
        return None
    if hasattr(owner, "A_log") and leaf == "out_proj" and "mixer" in path:
        return None  # Mamba's kernels take the weight itself: an adapter on it would not act
    if "experts" in path:
        return "experts"
    if _ATTENTION.intersection(path) or hasattr(owner, "A_log") or hasattr(owner, "q_proj"):
        return "attention"
    return "mlp"
