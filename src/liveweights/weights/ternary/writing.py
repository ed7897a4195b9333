"""Ternary checkpoints as GGUF files, for llama.cpp and its forks, without losing a bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import (
    ARCHITECTURES,
    UnsupportedByLlamaCpp,
    heads_to_permute,
    open_writer,
    permute_heads,
)
from liveweights.weights.staging import publish, staged
from liveweights.weights.tensors import Tensors
from liveweights.weights.ternary.blocks import NUMBERS, SIZES, BlockType, encode
from liveweights.weights.ternary.layout import Layout, from_tensors, read_layout
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix

FILE_TYPES: dict[BlockType, int] = {"TQ1_0": 36, "TQ2_0": 37, "Q2_0": 41}
"""llama.cpp's numbers (``llama_ftype`` in include/llama.h); the fork's types have none there."""
_GUESSED = 1024
Tell = Callable[[str, int, int], None]
"""``tell(what, done, total)``."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a file holds: its kind of blocks, how many ternary matrices and other tensors, and its
    bytes."""

    kind: BlockType
    matrices: int
    others: int
    bytes: int


def choose_kind(layout: Layout) -> BlockType:
    """The blocks for a checkpoint that llama.cpp reads: ``TQ2_0`` where 256 weights have a scale,
    else ``Q2_0``, where the scale of 128 weights is written twice."""
    return "TQ2_0" if layout.group_size == 256 else "Q2_0"


def write_gguf(model: Checkpoint, target: Path, kind: BlockType | None, tell: Tell) -> Written:
    """Write the file ``target``, which must not exist, of a ternary checkpoint; ``kind`` None
    leaves it to ``choose_kind``.

    Matrices that are not ternary are float16, vectors float32. Raises NotTernary where blocks of
    that kind would lose something, UnsupportedByLlamaCpp, BrokenFile, OSError.
    """
    if target.exists():
        raise NotTernary(f"{target} is there already")
    layout = read_layout(model.folder)
    if layout is None:
        raise NotTernary(f"{model.folder} is no ternary checkpoint")
    kind = kind or choose_kind(layout)
    group = SIZES[kind][0]
    if layout.group_size % group:
        raise NotTernary(
            f"{model.folder} has a scale per {layout.group_size} weights, and {kind} one per "
            f"{group}: name another type, or convert the dense model with --group {group}"
        )
    with staged(target) as folder:
        made = folder / "model.gguf"
        matrices, others = _write(model, made, kind, tell)
        size = made.stat().st_size
        publish(made, target)
    return Written(kind, matrices, others, size)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor of the file: its parts in the folder by the last part of their name, none of one
    that is not ternary; its shape, and how many heads its rows are reordered for."""

    name: str
    parts: tuple[str, ...]
    shape: tuple[int, ...]
    heads: int


def _write(model: Checkpoint, path: Path, kind: BlockType, tell: Tell) -> tuple[int, int]:
    config: dict[str, Any] = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
    del config["quantization_config"]
    number = FILE_TYPES.get(kind, _GUESSED)
    writer, places = open_writer(model, path, config, number, served=False)
    tensors = Tensors(model.folder)
    entries = list(_plan(tensors, config))
    group, size = SIZES[kind]
    for entry in entries:
        place = places.get_name(entry.name, (".weight", ".bias"))
        if place is None:
            raise UnsupportedByLlamaCpp(model.id, f"no place for the tensor {entry.name!r}")
        count = math.prod(entry.shape)
        if entry.parts:
            # A shape of bytes would be looked up by the type, and gguf-py does not know them all.
            block: Any = NUMBERS[kind]
            form = (np.dtype(np.int8), count // group * size, block)
        else:
            dtype = np.dtype(np.float16 if len(entry.shape) > 1 else np.float32)
            form = (dtype, count * dtype.itemsize, None)
        writer.add_tensor_info(place, entry.shape, *form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, entry in enumerate(entries):
        tell(entry.name, done, len(entries))
        if entry.parts:
            matrix = _read_matrix(tensors, entry).with_group(group)
            writer.write_tensor_data(encode(matrix, kind))
        else:
            writer.write_tensor_data(_read_values(tensors, entry))
    writer.close()
    tell("done", len(entries), len(entries))
    matrices = sum(bool(entry.parts) for entry in entries)
    return matrices, len(entries) - matrices


def _plan(tensors: Tensors, config: dict[str, Any]) -> Iterator[_Entry]:
    architecture = ARCHITECTURES.get(config.get("model_type", ""), "")
    parts: dict[str, tuple[str, ...]] = {}
    for name in tensors.names():
        owner, _, leaf = name.rpartition(".")
        if leaf in ("codes", "trits", "scales"):
            parts[f"{owner}.weight"] = (*parts.get(f"{owner}.weight", ()), leaf)
        else:
            parts[name] = ()
    if config.get("tie_word_embeddings"):
        parts.pop("lm_head.weight", None)
    for name, leaves in parts.items():
        heads = heads_to_permute(name, architecture, config)
        entry = _Entry(name, leaves, (), heads)
        shape = _read_matrix(tensors, entry).shape if leaves else tuple(tensors.read(name).shape)
        yield _Entry(name, leaves, shape, heads)


def _read_matrix(tensors: Tensors, entry: _Entry) -> TernaryMatrix:
    owner = entry.name.removesuffix(".weight")
    if "scales" not in entry.parts or len(entry.parts) != 2:
        raise NotTernary(f"{owner} has {' and '.join(entry.parts)} and no more")
    matrix = from_tensors({leaf: tensors.read(f"{owner}.{leaf}").numpy() for leaf in entry.parts})
    if not entry.heads:
        return matrix
    order = permute_heads(np.arange(len(matrix.codes), dtype=np.float32), entry.heads)
    rows = order.astype(np.int64)
    return TernaryMatrix(matrix.codes[rows], matrix.scales[rows])


def _read_values(tensors: Tensors, entry: _Entry) -> NDArray[Any]:
    values: NDArray[np.float32] = tensors.read(entry.name).float().numpy()
    if entry.heads:
        values = permute_heads(values, entry.heads)
    return values.astype(np.float16 if values.ndim > 1 else np.float32)
