"""Ternary checkpoints of others, read without losing a bit.

Three forms, all of which PrismML's Ternary Bonsai is published in: GGUF files with ternary blocks
(``blocks``); MLX's 2-bit layout, whose values are scale * code + bias with bias = -scale; and
16-bit weights of which each group holds 0 and one magnitude. Models whose weights stand in a basis
turned by a Hadamard transform (Bonsai 2) are refused: without turning the activations too, which
nothing here does, they say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveweights.weights.content import weight_files
from liveweights.weights.gguf import heads_to_permute, restore_heads
from liveweights.weights.gguf_header import Header, read_header
from liveweights.weights.gguf_tensors import read_tensor
from liveweights.weights.models import read_json
from liveweights.weights.tensors import BrokenFile, Tensors
from liveweights.weights.ternary.blocks import NUMBERS, SIZES, BlockType, decode
from liveweights.weights.ternary.matrix import GROUPS, NotTernary, TernaryMatrix, find_trits

Weights = TernaryMatrix | NDArray[np.float32]
_PER_WORD = 16
"""Codes of two bits in MLX's words, the first in the lowest bits."""


class Rotated(NotTernary):
    """The weights stand in a turned basis."""

    def __init__(self, place: Path, what: str) -> None:
        super().__init__(
            f"{place} declares {what}: its weights stand in a basis turned by a Hadamard "
            "transform, and would say nothing here, where activations are not turned"
        )


def read_folder(folder: Path) -> Iterator[tuple[str, Weights]]:
    """Every parameter of MLX's 2-bit layout or of 16-bit weights, by its name without ``.weight``
    where it is a ternary matrix. Raises NotTernary, Rotated, BrokenFile."""
    check_folder(folder)
    config = read_json(folder / "config.json")
    packed: Any = config.get("quantization")
    tensors = Tensors(folder)
    names = tensors.names()
    for name in names:
        owner, _, leaf = name.rpartition(".")
        if leaf in ("scales", "biases") and isinstance(packed, dict):
            continue
        tensor = tensors.read(name)
        if isinstance(packed, dict) and f"{owner}.scales" in names and leaf == "weight":
            scales, biases = (tensors.read(f"{owner}.{part}") for part in ("scales", "biases"))
            words = tensor.numpy().view(np.uint32)
            yield owner, read_mlx(words, scales.float().numpy(), biases.float().numpy())
            continue
        values: NDArray[np.float32] = tensor.float().numpy()
        matrix = _find(values) if leaf == "weight" and values.ndim == 2 else None
        yield (name, values) if matrix is None else (owner, matrix)


def read_mlx(
    words: NDArray[np.uint32], scales: NDArray[np.float32], biases: NDArray[np.float32]
) -> TernaryMatrix:
    """Of ``words`` [N, K/16], ``scales`` and ``biases`` [N, K/G]. Raises NotTernary."""
    if words.shape[1] * _PER_WORD % scales.shape[1]:
        raise NotTernary(f"{words.shape[1]} words do not divide into {scales.shape[1]} groups")
    if not np.array_equal(biases, -scales):
        raise NotTernary("the biases are not minus the scales: these are no ternary weights")
    shifts = np.arange(0, 2 * _PER_WORD, 2, dtype=np.uint32)
    codes = (words[..., None] >> shifts & 3).astype(np.int8).reshape(len(words), -1)
    if codes.size and codes.max() > 2:
        raise NotTernary("a weight is twice its scale")
    return TernaryMatrix.pack(codes - np.int8(1), scales.astype(np.float16))


def read_gguf(
    files: Sequence[Path], config: Mapping[str, Any], names: Iterable[str]
) -> Iterator[tuple[str, Weights]]:
    """The parameters of those ``names`` (Transformers'), as ``read_folder`` gives them.

    Raises NotTernary, Rotated, BrokenFile.
    """
    import gguf

    headers = {file: read_header(file) for file in files}
    for file, header in headers.items():
        if turned := next((key for key in header.metadata if "hadamard" in key.lower()), None):
            raise Rotated(file, turned)
    architecture = str(config["model_type"])
    places = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[architecture.upper()], int(config["num_hidden_layers"])
    )
    where = {name: file for file, header in headers.items() for name in header.shapes}
    for name in names:
        place = places.get_name(name, (".weight", ".bias")) or name
        if place not in where:
            raise BrokenFile(f"{files[0]} lacks {place!r}, the weights of {name!r}")
        file, header = where[place], headers[where[place]]
        heads = heads_to_permute(name, architecture, dict(config))
        kind = block_type(file, header, place)
        if kind is None:
            values = read_tensor(file, header, place)
            yield name, restore_heads(values, heads) if heads else values
            continue
        matrix = _read_blocks(file, header, place, kind)
        if heads:
            order = restore_heads(np.arange(len(matrix.codes), dtype=np.float32), heads)
            rows = order.astype(np.int64)
            matrix = TernaryMatrix(matrix.codes[rows], matrix.scales[rows])
        yield name.removesuffix(".weight"), matrix


def block_type(file: Path, header: Header, name: str) -> BlockType | None:
    """What ternary blocks a tensor is of; None where it is of none.

    The number 42 stands for blocks of 64 weights in llama.cpp, and of 128 in files that PrismML
    published before that: the room until the next tensor tells them apart.
    """
    kind = header.types[name]
    known: list[BlockType] = [one for one, number in NUMBERS.items() if number == kind]
    if len(known) < 2:
        return known[0] if known else None
    begin = header.begins[name]
    ends = [at for at in header.begins.values() if at > begin]
    room = min(ends, default=file.stat().st_size) - begin
    count = int(np.prod(header.shapes[name], dtype=np.int64))
    fits: list[BlockType] = [one for one in known if count // SIZES[one][0] * SIZES[one][1] <= room]
    if not fits:
        raise BrokenFile(f"{name} in {file} is cut off")
    return max(fits, key=lambda one: SIZES[one][1] / SIZES[one][0])


def check_folder(folder: Path) -> None:
    """Raise Rotated where a folder's config or tensors speak of a Hadamard transform."""
    text = json.dumps(read_json(folder / "config.json")).lower()
    if "hadamard" in text:
        raise Rotated(folder / "config.json", "a Hadamard transform")
    if not weight_files(folder):
        raise NotTernary(f"{folder} holds no *.safetensors")
    for name in Tensors(folder).names():
        if "hadamard" in name.lower():
            raise Rotated(folder, name)


def _read_blocks(file: Path, header: Header, name: str, kind: BlockType) -> TernaryMatrix:
    shape = header.shapes[name]
    if len(shape) != 2:
        raise NotTernary(f"{name} in {file} is no matrix")
    columns, rows = shape
    weights, size = SIZES[kind]
    if columns % weights:
        raise BrokenFile(f"{name} in {file} has rows of {columns} weights in blocks of {weights}")
    width = columns // weights * size
    raw = np.memmap(file, mode="r", offset=header.begins[name], shape=(rows, width), dtype=np.uint8)
    return decode(raw, kind)


def _find(values: NDArray[np.float32]) -> TernaryMatrix | None:
    """The matrix that these 16-bit weights are, with the largest groups that fit."""
    for group in sorted(GROUPS, reverse=True):
        if values.shape[1] % group == 0:
            try:
                return find_trits(values, group)
            except NotTernary:
                continue
    return None
