"""Weights of GGUF files in float32, under the names that Transformers gives them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from liveweights.weights.gguf import heads_to_permute, restore_heads
from liveweights.weights.gguf_config import CLASSES
from liveweights.weights.gguf_header import Header, block_sizes, read_header
from liveweights.weights.tensors import BrokenFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
_LINEAR = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


def read_tensor(file: Path, header: Header, name: str) -> NDArray[np.float32]:
    """The values of a tensor, the innermost dimension last. Raises BrokenFile for a type that is
    not known here."""
    import gguf

    shape, kind = header.shapes[name], header.types[name]
    if kind not in block_sizes():
        raise BrokenFile(f"{name} in {file} is of the type {kind}, which is not known here")
    block, size = block_sizes()[kind]
    rows = shape[:0:-1]
    width = shape[0] // block * size
    raw = np.memmap(
        file, mode="r", offset=header.begins[name], shape=(math.prod(rows) * width,), dtype=np.uint8
    )
    try:
        values = gguf.dequantize(raw.reshape(*rows, width), gguf.GGMLQuantizationType(kind))
    except NotImplementedError as error:
        raise BrokenFile(f"{name} in {file} cannot be read: {error}") from error
    return np.require(values.reshape(*rows, shape[0]), np.float32, "W")  # not the file's own memory


def read_weights(
    files: Sequence[Path], config: Mapping[str, Any], names: Iterable[str]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The model's parameters of those ``names``, one at a time, out of all its files.

    ``config`` is that of Transformers. Raises BrokenFile where the files lack one, or have tensors
    of the layers that no name asks for.
    """
    import gguf

    architecture = str(config["model_type"])
    places = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[architecture.upper()], int(config["num_hidden_layers"])
    )
    headers = {file: read_header(file) for file in files}
    where = {name: file for file, header in headers.items() for name in header.shapes}
    asked = {places.get_name(name, (".weight", ".bias")) or name: name for name in names}
    lacking = sorted(asked.keys() - where.keys())
    if lacking:
        raise BrokenFile(f"{files[0]} lacks {lacking[0]!r}, the weights of {asked[lacking[0]]!r}")
    others = sorted(name for name in where.keys() - asked.keys() if name.startswith("blk."))
    if others:
        raise BrokenFile(f"{files[0]} has {others[0]!r}, which {architecture} has no place for")
    for place, name in asked.items():
        values = read_tensor(where[place], headers[where[place]], place)
        heads = heads_to_permute(name, architecture, dict(config))
        yield name, restore_heads(values, heads) if heads else values


def read_linear_shapes(files: Sequence[Path], config: Mapping[str, Any]) -> dict[str, Shape]:
    """The shapes of the linear layers' weights, outputs first, under Transformers' names; of an
    architecture that Transformers computes otherwise none. Raises BrokenFile, OSError."""
    import gguf

    if config["model_type"] not in CLASSES:
        return {}
    layers = int(config["num_hidden_layers"])
    places = gguf.get_tensor_name_map(gguf.MODEL_ARCH[str(config["model_type"]).upper()], layers)
    stored = {name: shape for file in files for name, shape in read_header(file).shapes.items()}
    names = [f"model.layers.{layer}.{part}.weight" for layer in range(layers) for part in _LINEAR]
    there = {name: places.get_name(name, (".weight",)) for name in names}
    return {name: stored[place][::-1] for name, place in there.items() if place in stored}
