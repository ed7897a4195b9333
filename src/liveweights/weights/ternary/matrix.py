"""A matrix of {-1, 0, 1} with a 16-bit scale per group of a row, as it lies in memory.

Shapes: N rows (outputs), K columns (inputs), G columns per scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = (64, 128, 256)
"""Columns that may share a scale."""
CHUNK = 64
"""Columns that are packed together, into 16 bytes."""
_BYTES = CHUNK // 4
_SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)


class NotTernary(ValueError):
    """These are no ternary weights, or not of a shape that can be packed; says why."""


@dataclass(frozen=True, slots=True)
class TernaryMatrix:
    """``codes`` [N, K/4] uint8 and ``scales`` [N, K/G] float16; the value of a weight is its trit
    times its group's scale.

    Each 64 columns are 16 bytes: bits 2j and 2j + 1 of byte b hold the trit of column 16j + b,
    plus one. A shift and a mask so give 16 neighbours at once.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return self.codes.shape[0], self.codes.shape[1] * 4

    @property
    def group(self) -> int:
        """G."""
        return self.shape[1] // self.scales.shape[1]

    @classmethod
    def pack(cls, trits: NDArray[np.int8], scales: NDArray[np.float16]) -> TernaryMatrix:
        """Of ``trits`` [N, K] in {-1, 0, 1}. Raises NotTernary."""
        check_shape(trits.shape[1], scales.shape)
        codes = (trits + 1).astype(np.uint8)
        if codes.size and codes.max() > 2:
            raise NotTernary("a weight is none of -1, 0 and 1")
        rows = trits.shape[0]
        parts = codes.reshape(rows, -1, 4, _BYTES) << _SHIFTS[:, None]
        packed = np.bitwise_or.reduce(parts, axis=2).reshape(rows, -1)
        return cls(packed, np.ascontiguousarray(scales, dtype=np.float16))

    def trits(self) -> NDArray[np.int8]:
        """[N, K] in {-1, 0, 1}. Raises NotTernary where two bits are 3, which stands for none."""
        parts = self.codes.reshape(self.shape[0], -1, 1, _BYTES) >> _SHIFTS[:, None] & 3
        if parts.size and parts.max() > 2:
            raise NotTernary("two bits of the codes are 3, which stands for no trit")
        return parts.astype(np.int8).reshape(self.shape) - np.int8(1)

    def with_group(self, group: int) -> TernaryMatrix:
        """The same with scales for smaller groups. Raises NotTernary for larger ones."""
        if self.group % group or group not in GROUPS:
            raise NotTernary(f"groups of {self.group} weights do not divide into groups of {group}")
        return TernaryMatrix(self.codes, np.repeat(self.scales, self.group // group, axis=1))

    def dequantise(self) -> NDArray[np.float32]:
        """[N, K]."""
        rows, columns = self.shape
        grouped = self.trits().reshape(rows, -1, self.group).astype(np.float32)
        return (grouped * self.scales[..., None].astype(np.float32)).reshape(rows, columns)


def check_shape(columns: int, scales: tuple[int, ...]) -> None:
    """Raise NotTernary for a number of columns or scales that no matrix has."""
    if columns <= 0 or columns % CHUNK:
        raise NotTernary(f"rows of {columns} weights cannot be packed: it takes a multiple of 64")
    groups = scales[1] if len(scales) == 2 else 0
    if groups <= 0 or columns % groups or columns // groups not in GROUPS:
        raise NotTernary(f"{columns} weights with {groups} scales are not groups of 64, 128 or 256")


def find_trits(values: NDArray[np.float32], group: int) -> TernaryMatrix:
    """The matrix whose values [N, K] are exactly these. Raises NotTernary where a group has more
    than one magnitude, or one that is no float16."""
    rows, columns = values.shape
    if columns % group:
        raise NotTernary(f"rows of {columns} weights are no groups of {group}")
    grouped = values.reshape(rows, -1, group)
    scales = np.abs(grouped).max(axis=-1)
    trits = np.sign(grouped)
    half = scales.astype(np.float16)
    if not np.array_equal(trits * half[..., None].astype(np.float32), grouped):
        raise NotTernary(f"groups of {group} weights hold more than 0 and one magnitude")
    return TernaryMatrix.pack(trits.astype(np.int8).reshape(rows, columns), half)
