"""Taking over ternary checkpoints of others into the layout that is served here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from liveweights.ternary.conversion import to_half
from liveweights.ternary.layers import is_plain
from liveweights.weights.content import source_files
from liveweights.weights.gguf_base import make_exact_config
from liveweights.weights.loading import LOADING
from liveweights.weights.models import read_json
from liveweights.weights.ternary.folder import write_folder
from liveweights.weights.ternary.foreign import Weights, read_folder, read_gguf
from liveweights.weights.ternary.layout import Layout, Packing, to_tensors
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix


@dataclass(frozen=True, slots=True)
class Imported:
    """How many matrices are ternary, with how many weights to a scale, and how many tensors are
    not."""

    matrices: int
    group: int
    others: int


def import_checkpoint(source: Path, target: Path, packing: Packing) -> Imported:
    """Write the folder ``target``, which must not exist, of ``source``: a folder that stands for
    GGUF files, or one in MLX's layout or of 16-bit weights whose values are ternary.

    Nothing of a ternary matrix is lost, nor of how the model computes: GGUF files of which
    Transformers would compute something else are refused. Raises NotTernary, Rotated, BrokenFile,
    OSError.
    """
    if target.exists():
        raise NotTernary(f"{target} is there already")
    is_gguf = bool(source_files(source))
    config = make_exact_config(source) if is_gguf else read_json(source / "config.json")
    modules, plain, names = _structure(source)
    packed: dict[str, TernaryMatrix] = {}
    tensors: dict[str, NDArray[Any]] = {}
    for name, weights in _read(source, config, names):
        if not isinstance(weights, TernaryMatrix):
            tensors[name] = to_half(torch.from_numpy(weights))
        elif name in plain:
            packed[name] = weights
        else:
            tensors[f"{name}.weight"] = to_half(torch.from_numpy(weights.dequantise()))
    if not packed:
        raise NotTernary(f"{source} holds no ternary matrix")
    tied = bool(config.get("tie_word_embeddings"))
    if tied and "model.embed_tokens" in packed:
        packed["lm_head"], tied = packed["model.embed_tokens"], False
    group = min(matrix.group for matrix in packed.values())
    layout = Layout(
        group_size=group,  # type: ignore[arg-type]
        packing=packing,
        modules_to_not_convert=tuple(sorted(modules - packed.keys())),
    )
    others = len(tensors)
    for name, matrix in packed.items():
        stored = to_tensors(matrix.with_group(group), packing)
        tensors.update({f"{name}.{leaf}": np.copy(array) for leaf, array in stored.items()})
    write_folder(source, target, tensors, layout, tied=tied, config=config)
    return Imported(len(packed), group, others)


def _structure(source: Path) -> tuple[set[str], set[str], list[str]]:
    """The linear layers and embeddings of the model that a folder's config describes, those of them
    that ternary ones can stand for, and the names of its parameters, one that is another's left
    out."""
    import transformers

    config: Any = transformers.AutoConfig.from_pretrained(
        source, local_files_only=True, trust_remote_code=False
    )
    with LOADING, torch.device("meta"):
        model: Any = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    kinds = torch.nn.Linear | torch.nn.Embedding
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    plain = {name for name, module in modules.items() if is_plain(module)}
    names = list(model.state_dict())
    if config.tie_word_embeddings:
        names = [name for name in names if name != "lm_head.weight"]
    return set(modules), plain, names


def _read(
    source: Path, config: Mapping[str, Any], names: list[str]
) -> Iterator[tuple[str, Weights]]:
    if files := source_files(source):
        return read_gguf(files, config, names)
    return read_folder(source)
