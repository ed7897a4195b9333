"""Ternary matrices in GGUF files: blocks of packed trits with a scale each.

``TQ1_0`` and ``TQ2_0`` have a scale per 256 weights and are encoded by gguf-py. ``Q2_0``
(llama.cpp, 64 weights), its older form in PrismML's fork (128), and the fork's ``PQ2_0`` and
``PTQ1_0`` (128) are encoded here (github.com/PrismML-Eng/llama.cpp, ggml/src/ggml-common.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix, find_trits

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

_SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)
_POWERS = np.array([81, 27, 9, 3, 1], dtype=np.uint16)
_FIRST, _REST = 24, 2
"""Bytes of a PTQ1_0 block with five trits each (column 24i + b is trit i of byte b), and with four
(column 120 + 2i + b)."""


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
    if kind in ("TQ1_0", "TQ2_0"):
        return _encode_tq(matrix, kind)
    codes = (matrix.trits() + 1).astype(np.uint8).reshape(rows, -1, weights)
    scales = np.ascontiguousarray(matrix.scales)[..., None].view(np.uint8)
    if kind == "PTQ1_0":
        parts = [_pack_trits(codes), scales]
    else:
        packed = np.bitwise_or.reduce(codes.reshape(rows, -1, weights // 4, 4) << _SHIFTS, axis=-1)
        parts = [scales, packed]
    return np.concatenate(parts, axis=-1).reshape(rows, -1)


def decode(data: NDArray[np.uint8], kind: BlockType) -> TernaryMatrix:
    """The matrix in rows of blocks, [N, bytes]. Raises NotTernary where a code is no trit."""
    weights, size = SIZES[kind]
    rows = data.shape[0]
    if data.shape[1] % size:
        raise NotTernary(f"rows of {data.shape[1]} bytes are no {kind} blocks of {size}")
    blocks = data.reshape(rows, -1, size)
    match kind:
        case "TQ1_0" | "TQ2_0":
            return _decode_tq(data, blocks, kind)
        case "PTQ1_0":
            codes = _unpack_trits(blocks[..., : _FIRST + _REST])
            scales = blocks[..., _FIRST + _REST :]
        case _:
            codes = (blocks[..., 2:, None] >> _SHIFTS & 3).reshape(rows, -1, weights)
            scales = blocks[..., :2]
    if codes.size and codes.max() > 2:
        raise NotTernary(f"a {kind} block holds a weight of twice its scale")
    trits = codes.astype(np.int8).reshape(rows, -1) - np.int8(1)
    halves = np.ascontiguousarray(scales).view(np.float16)[..., 0]
    return TernaryMatrix.pack(trits, halves)


def _pack_trits(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes [..., 26]: base 3 as a fraction of 256, as TQ1_0 has it."""
    shape = codes.shape[:-1]
    split = 5 * _FIRST
    first = codes[..., :split].reshape(*shape, 5, _FIRST) * _POWERS[:, None]
    rest = codes[..., split:].reshape(*shape, 4, _REST) * _POWERS[:4, None]
    sums = np.concatenate([first.sum(axis=-2), rest.sum(axis=-2)], axis=-1)
    return ((sums.astype(np.uint16) * 256 + 242) // 243).astype(np.uint8)


def _unpack_trits(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shape = packed.shape[:-1]
    powers = _POWERS[::-1].astype(np.uint8)

    def trits(part: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        scaled = part[..., None, :] * powers[:count, None]  # modulo 256: what is above is taken
        return (scaled.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(*shape, -1)

    return np.concatenate([trits(packed[..., :_FIRST], 5), trits(packed[..., _FIRST:], 4)], axis=-1)


def _encode_tq(matrix: TernaryMatrix, kind: BlockType) -> NDArray[np.uint8]:
    import gguf

    # The quantiser takes the largest magnitude for the scale: trits that are all 0 have none.
    trits = matrix.trits()
    empty = ~trits.reshape(trits.shape[0], -1, matrix.group).any(axis=-1)
    if (matrix.scales < 0).any() or (matrix.scales[empty] != 0).any():
        raise NotTernary(f"{kind} keeps no scale that is negative or of a group of zeros")
    return gguf.quantize(matrix.dequantise(), gguf.GGMLQuantizationType(NUMBERS[kind]))


def _decode_tq(
    data: NDArray[np.uint8], blocks: NDArray[np.uint8], kind: BlockType
) -> TernaryMatrix:
    import gguf

    values = gguf.dequantize(data, gguf.GGMLQuantizationType(NUMBERS[kind]))
    found = find_trits(values.astype(np.float32), SIZES[kind][0])
    scales = np.ascontiguousarray(blocks[..., -2:]).view(np.float16)[..., 0]
    # The sign of a scale is the trits' where they were found in values.
    flipped = np.where(np.repeat(np.signbit(scales), 256, axis=-1), -1, 1).astype(np.int8)
    return TernaryMatrix.pack(found.trits() * flipped, scales)
