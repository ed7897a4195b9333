"""How far an answer is from the policy that is trained."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_by_row(values_T: Tensor, row_T: Tensor, rows: int) -> Tensor:
    """Mean over each row's tokens -> (B,). A row without tokens gets 0."""
    total_B = values_T.new_zeros(rows).index_add(0, row_T, values_T)
    return total_B / length_by_row(values_T, row_T, rows)


def length_by_row(values_T: Tensor, row_T: Tensor, rows: int) -> Tensor:
    """Tokens of each row, at least 1 -> (B,)."""
    count_B = values_T.new_zeros(rows).index_add(0, row_T, torch.ones_like(values_T))
    return count_B.clamp(min=1.0)


def answer_ratio(logprobs_T: Tensor, behaviour_T: Tensor) -> float:
    """The geometric ratio of one answer."""
    row_T = torch.zeros(len(logprobs_T), dtype=torch.long)
    return float(geometric_ratio(logprobs_T, behaviour_T, row_T, 1))


def geometric_ratio(logprobs_T: Tensor, behaviour_T: Tensor, row_T: Tensor, rows: int) -> Tensor:
    """Geometric mean over a row's tokens of rho_t = pi_t / mu_t -> (B,), without gradient."""
    return mean_by_row((logprobs_T - behaviour_T).detach(), row_T, rows).exp()
