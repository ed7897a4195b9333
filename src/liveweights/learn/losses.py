"""Losses over answer tokens. Shapes: B rows, T answer tokens of all rows end to end.

``row_T`` says which row a token belongs to. ``logprobs_T`` are the trainer's, with gradient;
``behaviour_T`` are the recorded ones of the policy that sampled the answer.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_by_row(values_T: Tensor, row_T: Tensor, rows: int) -> Tensor:
    """Mean over each row's tokens -> (B,). A row without tokens gets 0."""
    total_B = values_T.new_zeros(rows).index_add(0, row_T, values_T)
    count_B = values_T.new_zeros(rows).index_add(0, row_T, torch.ones_like(values_T))
    return total_B / count_B.clamp(min=1.0)


def geometric_ratio(logprobs_T: Tensor, behaviour_T: Tensor, row_T: Tensor, rows: int) -> Tensor:
    """Geometric mean over a row's tokens of rho_t = pi_t / mu_t -> (B,), without gradient."""
    return mean_by_row((logprobs_T - behaviour_T).detach(), row_T, rows).exp()


def policy_loss(
    logprobs_T: Tensor,
    behaviour_T: Tensor,
    advantage_T: Tensor,
    *,
    ratio_max: float = 2.0,
) -> Tensor:
    """Truncated, asymmetric off-policy policy gradient -> (T,).

    With rho_t = pi_t / mu_t and sg the stopped gradient:
    A >= 0: -sg(min(rho_t, ratio_max)) A log pi_t;  A < 0: -sg(clip(rho_t, 0, 1)) A log pi_t.
    TOPR (arXiv 2503.14286, eq. 8) per token, with truncated importance sampling for A >= 0.
    """
    ratio_T = (logprobs_T - behaviour_T).detach().exp()
    weight_T = torch.where(
        advantage_T >= 0, ratio_T.clamp(max=ratio_max), ratio_T.clamp(min=0.0, max=1.0)
    )
    return -weight_T * advantage_T * logprobs_T


def demonstration_loss(logprobs_T: Tensor, weight_T: Tensor) -> Tensor:
    """Weighted negative log-likelihood of what the user wrote instead -> (T,)."""
    return -weight_T * logprobs_T


def kl_estimate(logprobs_T: Tensor, reference_T: Tensor) -> Tensor:
    """Per-token estimate of KL(pi || reference) on tokens of the behaviour policy -> (T,).

    k3 = r - 1 - log r with r = reference / pi: never negative, low variance
    (Schulman 2020, http://joschu.net/blog/kl-approx.html). The log-ratio is clamped to [-10, 10].
    """
    log_r_T = (reference_T - logprobs_T).clamp(-10.0, 10.0)
    return log_r_T.exp() - 1.0 - log_r_T
