"""Rounding a matrix to {-1, 0, 1} with scales, so that what it computes changes least.

Column by column, as in GPTQ (arXiv 2210.17323): what rounding a column gets wrong is taken back by
those that are still to come, weighed by how the inputs go together. Rounding each weight by itself
leaves a model that says nothing. Shapes: N outputs, K inputs, G inputs per scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from liveweights.weights.ternary.matrix import TernaryMatrix

DAMPING = 0.01
"""Of the mean of the inputs' squares, added to each: few tokens leave directions unseen."""
_FITS = 8
"""Rounds of choosing trits for a scale and a scale for trits; two or three settle it."""
_LEAST = 2.0**-14
"""The smallest normal float16: a group of less is all zeros."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """A matrix, and the squared error of what it computes on the inputs that it was rounded for, as
    a share of the square of what the weights computed."""

    matrix: TernaryMatrix
    loss: float


def fit_scales(weight_NG: Tensor, importance_G: Tensor) -> Tensor:
    """The scale [N] of each row's group that leaves the least squared error, weighed by
    ``importance_G``; a float16's value, 0 where the group is nothing.

    Trits are 1 above half the scale. Alternates between the two, from one and a half times the mean
    magnitude on.
    """
    magnitude_NG = weight_NG.abs()
    scale_N = magnitude_NG.mean(dim=1) * 1.5
    for _ in range(_FITS):
        chosen_NG = (magnitude_NG > scale_N[:, None] / 2) * importance_G
        total_N = chosen_NG.sum(dim=1)
        scale_N = (magnitude_NG * chosen_NG).sum(dim=1) / total_N.clamp(min=1e-30)
    scale_N = scale_N.clamp(max=65504.0).half().float()
    return torch.where(scale_N < _LEAST, 0.0, scale_N)


def round_matrix(weight_NK: Tensor, gram_KK: Tensor, group: int) -> Rounded:
    """``weight_NK`` with errors fed back. ``gram_KK`` is X^T X of the inputs, in float32.

    Raises ValueError where either is not finite.
    """
    weight_NK = weight_NK.float()
    if not weight_NK.isfinite().all() or not gram_KK.isfinite().all():
        raise ValueError("weights or inputs hold values that are no finite numbers")
    before_NK, left_NK = weight_NK, weight_NK.clone()
    rows, columns = weight_NK.shape
    feedback_KK = _feedback(gram_KK)
    importance_K = gram_KK.diagonal() + DAMPING * gram_KK.diagonal().mean() + 1e-12
    trits_NK = torch.zeros(rows, columns, dtype=torch.int8)
    scales: list[Tensor] = []
    for begin in range(0, columns, group):
        end = begin + group
        block_NG = left_NK[:, begin:end]
        scale_N = fit_scales(block_NG, importance_K[begin:end])
        scales.append(scale_N)
        inner_GG = feedback_KK[begin:end, begin:end]
        errors_NG = torch.zeros_like(block_NG)
        for column in range(group):
            value_N = block_NG[:, column]
            trit_N = value_N.sign() * (value_N.abs() > scale_N / 2) * (scale_N > 0)
            trits_NK[:, begin + column] = trit_N.to(torch.int8)
            error_N = (value_N - trit_N * scale_N) / inner_GG[column, column]
            errors_NG[:, column] = error_N
            block_NG[:, column + 1 :].addr_(error_N, inner_GG[column, column + 1 :], alpha=-1)
        left_NK[:, end:].addmm_(errors_NG, feedback_KK[begin:end, end:], alpha=-1)
    halves = torch.stack(scales, dim=1).half().numpy()
    matrix = TernaryMatrix.pack(trits_NK.numpy(), halves)
    return Rounded(matrix, output_loss(before_NK, matrix, gram_KK))


def output_loss(weight_NK: Tensor, matrix: TernaryMatrix, gram_KK: Tensor) -> float:
    """Squared error of the outputs, as a share of their square: tr(E H E^T) / tr(W H W^T)."""
    error_NK = weight_NK.float() - torch.from_numpy(matrix.dequantise())

    def energy(matrix_NK: Tensor) -> float:
        return float(((matrix_NK @ gram_KK) * matrix_NK).sum(dtype=torch.float64))

    whole = energy(weight_NK.float())
    return energy(error_NK) / whole if whole > 0 else 0.0


def _feedback(gram_KK: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped ``gram_KK``: row k says how an error
    in column k spreads over those after it."""
    columns = len(gram_KK)
    damped_KK = gram_KK.double()
    mean = float(damped_KK.diagonal().mean())
    damped_KK = damped_KK + torch.eye(columns, dtype=torch.float64) * max(DAMPING * mean, 1e-12)
    inverse_KK = torch.cholesky_inverse(torch.linalg.cholesky(damped_KK))
    return torch.linalg.cholesky(inverse_KK, upper=True).float().contiguous()


def round_plainly(weight_NK: Tensor, group: int) -> TernaryMatrix:
    """Each group by itself, no errors fed back: for embeddings, whose rows are looked up, and to
    begin training from."""
    rows, columns = weight_NK.shape
    blocks_NG = weight_NK.float().reshape(-1, group)
    scale_N = fit_scales(blocks_NG, torch.ones(group))
    trits_NG = blocks_NG.sign() * (blocks_NG.abs() > scale_N[:, None] / 2) * (scale_N > 0)[:, None]
    trits = trits_NG.to(torch.int8).reshape(rows, columns).numpy()
    halves = scale_N.half().reshape(rows, -1).numpy().astype(np.float16)
    return TernaryMatrix.pack(trits, halves)
