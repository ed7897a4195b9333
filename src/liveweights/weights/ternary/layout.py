"""How a folder of safetensors holds ternary weights, as its ``config.json`` says it.

A Transformers checkpoint whose ``quantization_config`` is a ``Layout``. Every matrix ``M.weight``
[N, K] of a linear layer or an embedding is, unless M is one of ``modules_to_not_convert``:

- ``M.scales`` [N, K/G] float16, one for each group of G columns;
- with ``packing`` 2bit, ``M.codes`` [N, K/4] uint8 (``TernaryMatrix``), computed with as it is;
- with ``packing`` base3, ``M.trits`` [N, ceil(K/5)] uint8 (``pack_base3``), for disks and networks.

All else has the names and precisions that Transformers gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from liveweights.weights.models import read_json
from liveweights.weights.ternary.base3 import pack_base3, unpack_base3
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix, check_shape

METHOD = "ternary"
Packing = Literal["2bit", "base3"]
Group = Literal[64, 128, 256]


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``quantization_config`` of a ternary checkpoint."""

    quant_method: Literal["ternary"] = "ternary"
    version: Annotated[int, Meta(ge=1, le=1)] = 1
    group_size: Group = 128
    packing: Packing = "2bit"
    modules_to_not_convert: tuple[str, ...] = ()


def read_layout(folder: Path) -> Layout | None:
    """What a checkpoint's config says; None of one that is not ternary in this layout.

    Raises NotTernary where it says what is not understood here.
    """
    config: Any = read_json(folder / "config.json").get("quantization_config")
    if not isinstance(config, dict) or config.get("quant_method") != METHOD:
        return None
    try:
        return msgspec.convert(config, Layout)
    except msgspec.ValidationError as error:
        raise NotTernary(f"{folder / 'config.json'}, quantization_config: {error}") from error


def dense_shapes(
    shapes: Mapping[str, tuple[int, ...]], layout: Layout
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of tensors as they would be of the same model without ternary weights."""
    dense: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        owner, _, leaf = name.rpartition(".")
        if f"{owner}.scales" not in shapes or leaf not in ("scales", "codes", "trits"):
            dense[name] = shape
        elif leaf == "scales":
            dense[f"{owner}.weight"] = (shape[0], shape[1] * layout.group_size)
    return dense


def tensor_shapes(layout: Layout, rows: int, columns: int) -> Mapping[str, tuple[int, int]]:
    """What a matrix [N, K] is stored as, by the last part of the name. Raises NotTernary."""
    scales = (rows, columns // layout.group_size)
    check_shape(columns, scales)
    if layout.packing == "base3":
        return {"trits": (rows, -(-columns // 5)), "scales": scales}
    return {"codes": (rows, columns // 4), "scales": scales}


def to_tensors(matrix: TernaryMatrix, packing: Packing) -> dict[str, NDArray[Any]]:
    """What is stored of a matrix, by the last part of the name."""
    if packing == "base3":
        return {"trits": pack_base3(matrix.trits()), "scales": matrix.scales}
    return {"codes": matrix.codes, "scales": matrix.scales}


def from_tensors(tensors: Mapping[str, NDArray[Any]]) -> TernaryMatrix:
    """The matrix of what ``to_tensors`` gave. Raises NotTernary."""
    scales: NDArray[np.float16] = tensors["scales"]
    if "codes" in tensors:
        check_shape(tensors["codes"].shape[1] * 4, scales.shape)
        return TernaryMatrix(tensors["codes"], scales)
    if scales.shape[1] == 0:
        raise NotTernary("base-3 weights have no scales")
    # Five trits to the byte say the number of columns only up to four; a multiple of 64 does.
    columns = tensors["trits"].shape[1] * 5 // 64 * 64
    return TernaryMatrix.pack(unpack_base3(tensors["trits"], columns), scales)
