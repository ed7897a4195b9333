"""Activations times ternary weights, on a CPU.

Shapes: T tokens, K inputs, N outputs, G inputs per scale.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveweights.ternary.compilation import chosen, product, rounding
from liveweights.ternary.instructions import Instructions
from liveweights.ternary.job import BLOCK, JOB, STEP
from liveweights.ternary.threads import runner
from liveweights.weights.ternary.matrix import TernaryMatrix

TILES = (1, 2, 4)
"""Tokens that one kernel computes together."""
_PANEL = 1 << 18
"""Bytes of activations that are read again for each block of rows: they stay near the core."""
_SHARE = 1 << 16
"""Bytes of weights that a thread takes at once."""
_Job: Any = ctypes.c_int64 * len(JOB)


def multiply(
    x_TK: Tensor, codes: Tensor, scales: Tensor, instructions: Instructions | None = None
) -> Tensor:
    """[T, N] float32 of ``x_TK`` float32, contiguous; ``codes`` and ``scales`` as ``TernaryMatrix``
    has them.

    64 of a token's activations each are rounded to bytes with one step (max |x| / 127); what they
    give with the weights is exact, and summed in float32. Raises NoCompiler.
    """
    instructions = instructions or chosen()
    tokens, columns = x_TK.shape
    rows = codes.shape[0]
    tile = next((tile for tile in TILES if tokens <= tile), TILES[-1])
    padded = -(-tokens // tile) * tile
    # One piece of memory: bytes, sums and steps. What is padded is computed and not looked at.
    room = torch.empty(padded * (columns + columns // 4 + columns // 16), dtype=torch.uint8)
    activations = room.data_ptr()
    sums = activations + padded * columns
    steps = sums + padded * (columns // 4)
    rounding(instructions.width).call(x_TK.data_ptr(), tokens, columns, activations, sums, steps)
    out = torch.empty(padded, rows, dtype=torch.float32)
    code = product(instructions, columns // scales.shape[1], tile)
    share = max(1, _SHARE // (columns // 4) // BLOCK) * BLOCK
    panel = max(1, _PANEL // columns // tile) * tile
    threads = torch.get_num_threads()
    for begin in range(0, padded, panel):
        count = min(panel, padded - begin)
        job = _Job(
            codes.data_ptr(), scales.data_ptr(), activations + begin * columns,
            sums + begin * (columns // 4), steps + begin * (columns // 16),
            out.data_ptr() + begin * rows * 4, rows, columns, count, rows, 0, share,
        )  # fmt: skip
        if threads == 1:
            code.call(ctypes.addressof(job))
        else:
            runner()(code.address, ctypes.addressof(job), threads)
    return out[:tokens]


def round_activations(
    x_TK: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Bytes [T, K] and steps [T, K/64], as the kernels round."""
    blocks = x_TK.reshape(len(x_TK), -1, STEP)
    largest = np.abs(blocks).max(axis=-1)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest != 0)
    bytes_ = np.rint(blocks * inverse[..., None]).astype(np.int8)
    return bytes_.reshape(x_TK.shape), largest / np.float32(127)


def multiply_exactly(x_TK: NDArray[np.float32], matrix: TernaryMatrix) -> NDArray[np.float64]:
    """What ``multiply`` computes, [T, N], by plain arithmetic: whole numbers of 64 columns each,
    and sums in float64. Kernels may differ from it by their summing in float32."""
    bytes_TK, steps = round_activations(x_TK)
    rows, columns = matrix.shape
    blocks = columns // STEP
    trits = matrix.trits().reshape(rows, blocks, STEP).astype(np.int64)
    given = bytes_TK.reshape(-1, blocks, STEP).astype(np.int64)
    whole_TNB = np.einsum("tbk,nbk->tnb", given, trits)
    scales_NB = matrix.scales.astype(np.float64).repeat(matrix.group // STEP, axis=1)
    return (whole_TNB * scales_NB * steps.astype(np.float64)[:, None]).sum(axis=-1)
