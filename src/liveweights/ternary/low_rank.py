"""What a low-rank adapter adds to a product, on a CPU.

Shapes: T tokens, K inputs, R rank, N outputs.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from liveweights.ternary.compilation import chosen, low_rank, reads_halves
from liveweights.ternary.job import DOWN, LOW_RANK_JOB, UP
from liveweights.ternary.threads import runner

MANY = 32
"""Tokens beyond which torch's products are faster, also where weights are made float32 for them."""


class _Job(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_int64) for name in LOW_RANK_JOB), ("scale", ctypes.c_float))


def halve(down_RK: Tensor, up_RN: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float16, where nothing is lost by it and this processor reads it; else as they are.
    Raises NoCompiler."""
    given = down_RK, up_RN
    halves = down_RK.half(), up_RN.half()
    exact = all(torch.equal(one.float(), other) for one, other in zip(halves, given, strict=True))
    return halves if exact and reads_halves() else given


def add_low_rank(
    out: Tensor,
    x: Tensor,
    down_RK: Tensor,
    up_RN: Tensor,
    *,
    scale: float,
    lanes: int | None = None,
) -> None:
    """Add ``scale * (x @ down.T) @ up`` to ``out`` [..., N], in place, of ``x`` [..., K].

    All are contiguous; these two are float32, the others float16 or both float32. K is a multiple
    of 64. ``lanes`` are the floats of the vectors that are computed with: by default as many as
    this processor's hold. Raises NoCompiler.
    """
    rank, inputs = down_RK.shape
    tokens, outputs = x.numel() // inputs, up_RN.shape[1]
    if tokens > MANY:
        hidden_TR = torch.nn.functional.linear(x.view(-1, inputs), down_RK.float())
        out.view(-1, outputs).addmm_(hidden_TR, up_RN.float(), alpha=scale)
        return
    hidden_TR = torch.empty(tokens, rank, dtype=torch.float32)
    job = _Job(
        x.data_ptr(), down_RK.data_ptr(), up_RN.data_ptr(), hidden_TR.data_ptr(),
        out.data_ptr(), rank, inputs, outputs, tokens, DOWN + UP, 0, 0, scale,
    )  # fmt: skip
    code = low_rank(lanes or chosen().width // 4, down_RK.dtype == torch.float16)
    threads = torch.get_num_threads()
    if threads == 1:
        code.call(ctypes.addressof(job))
        return
    for phase in (DOWN, UP):  # the second needs all of the first
        job.phases = phase
        runner()(code.address, ctypes.addressof(job), threads)
