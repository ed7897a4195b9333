"""Folders of ternary checkpoints: written whole, and written again with other matrices."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from liveweights.weights.content import weight_files
from liveweights.weights.staging import publish, staged
from liveweights.weights.tensors import open_tensors
from liveweights.weights.ternary.layout import Layout, from_tensors, read_layout, to_tensors
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix


def write_folder(
    source: Path,
    target: Path,
    tensors: Mapping[str, NDArray[Any]],
    layout: Layout,
    *,
    tied: bool,
    config: Mapping[str, Any] | None = None,
) -> None:
    """``target`` with these tensors, and all of ``source`` that is no weights; whole or not at all.

    ``tied`` says whether the output layer is the embedding; ternary ones are stored apart.
    ``config`` is the model's, ``source``'s own unless given.
    """
    from safetensors.numpy import save_file

    weights = set(weight_files(source))
    own = json.loads((source / "config.json").read_text(encoding="utf-8"))
    said = {
        **(own if config is None else config),
        "quantization_config": msgspec.to_builtins(layout),
        "tie_word_embeddings": tied,
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with staged(target) as folder:
        made = folder / "model"
        made.mkdir()
        for file in source.iterdir():
            if file.is_file() and file not in weights and not file.name.endswith(".index.json"):
                shutil.copy2(file, made / file.name)
        (made / "config.json").write_text(json.dumps(said, indent=2), encoding="utf-8")
        save_file(contiguous, made / "model.safetensors", metadata={"format": "pt"})
        publish(made, target)


def read_matrices(folder: Path) -> dict[str, TernaryMatrix]:
    """Every ternary matrix of a checkpoint, by its layer's name. Raises NotTernary, BrokenFile."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, tensor in _read_all(folder).items():
        owner, _, leaf = name.rpartition(".")
        if leaf in ("codes", "trits", "scales"):
            parts.setdefault(owner, {})[leaf] = tensor
    for owner, stored in parts.items():
        if len(stored) != 2 or "scales" not in stored:
            raise NotTernary(f"{folder}: {owner} has {', '.join(sorted(stored))} and no more")
    return {owner: from_tensors(stored) for owner, stored in parts.items()}


def replace_matrices(source: Path, target: Path, matrices: Mapping[str, TernaryMatrix]) -> None:
    """``target`` as the ternary checkpoint ``source``, with these matrices in place of those of
    their names. Raises NotTernary, BrokenFile, OSError."""
    layout = read_layout(source)
    if layout is None:
        raise NotTernary(f"{source} is no ternary checkpoint")
    tensors = _read_all(source)
    for owner, matrix in matrices.items():
        packed = to_tensors(matrix, layout.packing)
        tensors.update({f"{owner}.{leaf}": array for leaf, array in packed.items()})
    config: Any = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tied = bool(config.get("tie_word_embeddings"))
    write_folder(source, target, tensors, layout, tied=tied)


def _read_all(folder: Path) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    for file in weight_files(folder):
        with open_tensors(file, "np") as opened:
            tensors.update({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
    return tensors
