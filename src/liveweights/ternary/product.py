"""Activations times ternary weights, on a CPU.

Shapes: T tokens, K inputs, N outputs, G inputs per scale, R rank of an adapter.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveweights.ternary.compilation import chosen, multiplication
from liveweights.ternary.instructions import Instructions
from liveweights.ternary.job import STEP
from liveweights.ternary.low_rank import MANY, LowRank
from liveweights.ternary.threads import runner
from liveweights.weights.ternary.matrix import TernaryMatrix


def multiply(
    x: Tensor,
    codes: Tensor,
    scales: Tensor,
    adapter: LowRank | None = None,
    *,
    instructions: Instructions | None = None,
) -> Tensor:
    """[..., N] float32 of ``x`` [..., K] float32, contiguous; ``codes`` and ``scales`` as
    ``TernaryMatrix`` has them.

    64 of a token's activations each are rounded to bytes with one step (max |x| / 127); what they
    give with the weights is exact, and summed in float32. What ``adapter`` adds is of activations
    that are not rounded. Raises NoCompiler.
    """
    rows, groups = scales.shape
    columns = x.shape[-1]
    tokens = x.numel() // columns
    tile = tokens if 0 < tokens <= 2 else 4
    padded = -(-tokens // tile) * tile
    beside, after = (None, adapter) if tokens > MANY else (adapter, None)
    half = None if beside is None else beside.down_RK.dtype == torch.float16
    kernel = multiplication(instructions or chosen(), columns // groups, tile, half)
    more = () if beside is None else beside.arguments()
    # What only fills a tile is computed, and not looked at.
    shape = (*x.shape[:-1], rows) if padded == tokens else (padded, rows)
    out = torch.empty(shape, dtype=torch.float32)
    threads = torch.get_num_threads()
    kernel.call(
        codes.data_ptr(), scales.data_ptr(), rows, columns, x.data_ptr(), tokens, out.data_ptr(),
        0 if threads == 1 else runner().address, threads, *more,
    )  # fmt: skip
    if padded != tokens:
        out = out[:tokens].view(*x.shape[:-1], rows)
    if after is not None:
        after.add(out, x)
    return out


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
