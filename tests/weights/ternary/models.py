"""Small ternary checkpoints, whose matrices are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file
from tests.learn.families import make_config, write_family

from liveweights.ternary.rounding import round_plainly
from liveweights.weights.ternary.folder import write_folder
from liveweights.weights.ternary.layout import Group, Layout, Packing, to_tensors


def write_ternary(
    folder: Path, family: str, group: Group, packing: Packing = "2bit", *, embeddings: bool = False
) -> Path:
    """A random model of the family with layers of 256 and 512, all linear layers ternary, and
    embeddings and output layer too if asked; what it was rounded from is beside it."""
    config = make_config(family)
    config.hidden_size, config.intermediate_size, config.head_dim = 256, 512, 64
    dense = write_family(config, folder / "dense", torch.float16)
    _add_merge(dense / "tokenizer.json")
    tensors: dict[str, Any] = {}
    kept: list[str] = []
    for name, weight in load_file(dense / "model.safetensors").items():
        owner = name.removesuffix(".weight")
        outer = owner in ("lm_head", "model.embed_tokens")
        if weight.ndim != 2 or (outer and not embeddings):
            tensors[name] = weight
            kept += [owner] * outer
            continue
        matrix = round_plainly(torch.from_numpy(weight), group)
        tensors |= {f"{owner}.{leaf}": a for leaf, a in to_tensors(matrix, packing).items()}
    layout = Layout(group_size=group, packing=packing, modules_to_not_convert=tuple(kept))
    write_folder(dense, folder / "ternary", tensors, layout, tied=False)
    return folder / "ternary"


def _add_merge(file: Path) -> None:
    """Without one llama.cpp takes no tokenizer."""
    tokenizer: dict[str, Any] = json.loads(file.read_text())
    tokenizer["model"]["vocab"]["zq"] = 257
    tokenizer["model"]["merges"] = [["z", "q"]]
    file.write_text(json.dumps(tokenizer))
