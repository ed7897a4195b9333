"""Five trits to the byte: what disks and networks carry, 1.6 bits for each weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liveweights.weights.ternary.matrix import NotTernary

TRITS = 5
_POWERS = np.array([1, 3, 9, 27, 81], dtype=np.uint8)
_LARGEST = 3**TRITS - 1
_TABLE = (np.arange(_LARGEST + 1)[:, None] // _POWERS % 3 - 1).astype(np.int8)
"""The five trits of each byte, [243, 5]."""


def pack_base3(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Bytes [N, ceil(K/5)] of ``trits`` [N, K] in {-1, 0, 1}.

    A byte is the sum of (trit + 1) times 1, 3, 9, 27, 81, of five columns in order; the last byte
    of a row is filled with -1. Raises NotTernary.
    """
    rows, columns = trits.shape
    if trits.size and (trits.min() < -1 or trits.max() > 1):
        raise NotTernary("a weight is none of -1, 0 and 1")
    filled = np.zeros((rows, -(-columns // TRITS) * TRITS), dtype=np.uint8)
    filled[:, :columns] = trits + 1
    return (filled.reshape(rows, -1, TRITS) * _POWERS).sum(axis=-1, dtype=np.uint8)


def unpack_base3(packed: NDArray[np.uint8], columns: int) -> NDArray[np.int8]:
    """Trits [N, K] of such bytes. Raises NotTernary for bytes or a width that hold none."""
    if packed.shape[1] != -(-columns // TRITS):
        raise NotTernary(f"{packed.shape[1]} bytes hold no row of {columns} weights")
    if packed.size and packed.max() > _LARGEST:
        raise NotTernary(f"a byte of base-3 weights is above {_LARGEST}")
    return _TABLE[packed].reshape(packed.shape[0], -1)[:, :columns]
