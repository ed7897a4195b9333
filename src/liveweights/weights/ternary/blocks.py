"""Ternary matrices in GGUF files: blocks of packed trits with a scale each.

llama.cpp reads ``TQ1_0`` and ``TQ2_0`` (a scale per 256 weights) and ``Q2_0`` (64). PrismML's fork
reads an older form of ``Q2_0`` (128), ``PQ2_0`` and ``PTQ1_0`` (128;
github.com/PrismML-Eng/llama.cpp, ggml/src/ggml-common.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix

BlockType = Literal["TQ1_0", "TQ2_0", "Q2_0", "Q2_0_g128", "PQ2_0", "PTQ1_0"]
NUMBERS: Mapping[BlockType, int] = {
    "TQ1_0": 34, "TQ2_0": 35, "Q2_0": 42, "Q2_0_g128": 42, "PQ2_0": 142, "PTQ1_0": 143,
}  # fmt: skip
"""What files call them."""
SIZES: Mapping[BlockType, tuple[int, int]] = {
    "TQ1_0": (256, 54), "TQ2_0": (256, 66), "Q2_0": (64, 18), "Q2_0_g128": (128, 34),
    "PQ2_0": (128, 34), "PTQ1_0": (128, 28),
}  # fmt: skip
"""Weights and bytes of a block."""

STOCK: tuple[BlockType, ...] = ("TQ2_0", "TQ1_0", "Q2_0")
"""What llama.cpp reads as it is; the others only PrismML's fork."""

_SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)
_POWERS = np.array([81, 27, 9, 3, 1], dtype=np.uint16)
_RUNS: Mapping[BlockType, tuple[tuple[int, int], ...]] = {
    "TQ1_0": ((32, 5), (16, 5), (4, 4)), "PTQ1_0": ((24, 5), (2, 4)),
}  # fmt: skip
"""Of a block in base 3: runs of so many bytes with so many trits each. A run's trit i of byte b is
its column i * bytes + b."""


def encode(matrix: TernaryMatrix, kind: BlockType) -> NDArray[np.uint8]:
    """Bytes [N, K / weights * bytes]. Raises NotTernary where the blocks would lose something."""
    rows, columns = matrix.shape
    weights, _ = SIZES[kind]
    if columns % weights:
        raise NotTernary(f"rows of {columns} weights are no blocks of {weights} for {kind}")
    if matrix.group != weights:
        raise NotTernary(
            f"{kind} has a scale per {weights} weights, this matrix one per {matrix.group}"
        )
    codes = (matrix.trits() + 1).astype(np.uint8).reshape(rows, -1, weights)
    scales = np.ascontiguousarray(matrix.scales)[..., None].view(np.uint8)
    match kind:
        case "TQ1_0" | "PTQ1_0":
            parts = [_pack_trits(codes, kind), scales]
        case "TQ2_0":  # of each 128, byte b holds columns b, 32 + b, 64 + b and 96 + b
            split = codes.reshape(rows, -1, 2, 4, 32) << _SHIFTS[:, None]
            parts = [np.bitwise_or.reduce(split, axis=-2).reshape(rows, -1, 64), scales]
        case _:
            split = codes.reshape(rows, -1, weights // 4, 4) << _SHIFTS
            parts = [scales, np.bitwise_or.reduce(split, axis=-1)]
    return np.concatenate(parts, axis=-1).reshape(rows, -1)


def decode(data: NDArray[np.uint8], kind: BlockType) -> TernaryMatrix:
    """The matrix in rows of blocks, [N, bytes]. Raises NotTernary where a code is no trit."""
    weights, size = SIZES[kind]
    rows = data.shape[0]
    if data.shape[1] % size:
        raise NotTernary(f"rows of {data.shape[1]} bytes are no {kind} blocks of {size}")
    blocks = data.reshape(rows, -1, size)
    match kind:
        case "TQ1_0" | "PTQ1_0":
            codes, scales = _unpack_trits(blocks[..., :-2], kind), blocks[..., -2:]
        case "TQ2_0":
            split = blocks[..., :-2].reshape(rows, -1, 2, 1, 32) >> _SHIFTS[:, None] & 3
            codes, scales = split.reshape(rows, -1, weights), blocks[..., -2:]
        case _:
            codes = (blocks[..., 2:, None] >> _SHIFTS & 3).reshape(rows, -1, weights)
            scales = blocks[..., :2]
    if codes.size and codes.max() > 2:
        raise NotTernary(f"a {kind} block holds a weight of twice its scale")
    trits = codes.astype(np.int8).reshape(rows, -1) - np.int8(1)
    halves = np.ascontiguousarray(scales).view(np.float16)[..., 0]
    return TernaryMatrix.pack(trits, halves)


def _pack_trits(codes: NDArray[np.uint8], kind: BlockType) -> NDArray[np.uint8]:
    """Bytes of base 3 as a fraction of 256, rounded up, as llama.cpp has it."""
    shape = codes.shape[:-1]
    sums: list[NDArray[np.uint16]] = []
    begin = 0
    for size, count in _RUNS[kind]:
        end = begin + size * count
        run = codes[..., begin:end].reshape(*shape, count, size) * _POWERS[:count, None]
        sums.append(run.sum(axis=-2, dtype=np.uint16))
        begin = end
    return ((np.concatenate(sums, axis=-1).astype(np.uint32) * 256 + 242) // 243).astype(np.uint8)


def _unpack_trits(packed: NDArray[np.uint8], kind: BlockType) -> NDArray[np.uint8]:
    shape = packed.shape[:-1]
    powers = _POWERS[::-1].astype(np.uint8)
    runs: list[NDArray[np.uint8]] = []
    begin = 0
    for size, count in _RUNS[kind]:
        part = packed[..., begin : begin + size]
        scaled = part[..., None, :] * powers[:count, None]  # modulo 256: what is above is taken
        runs.append((scaled.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(*shape, -1))
        begin += size
    return np.concatenate(runs, axis=-1)
