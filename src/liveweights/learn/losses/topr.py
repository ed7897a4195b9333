"""TOPR: truncated, asymmetric off-policy policy gradient. The default."""

from __future__ import annotations

import torch
from torch import Tensor


def topr_loss(
    logprobs_T: Tensor, behaviour_T: Tensor, advantage_T: Tensor, *, ratio_max: float = 2.0
) -> Tensor:
    """-> (T,). With rho_t = pi_t / mu_t and sg the stopped gradient:

    A >= 0: -sg(min(rho_t, ratio_max)) A log pi_t;  A < 0: -sg(clip(rho_t, 0, 1)) A log pi_t.

    TOPR (arXiv 2503.14286, eq. 8) per token, with truncated importance sampling in place of its
    weight of 1 for A >= 0. What was rejected is pushed down only as far as it is still likely:
    without that the gradient of a rejected answer grows without bound as it vanishes.
    Unbiased where no ratio is truncated.
    """
    ratio_T = (logprobs_T - behaviour_T).detach().exp()
    weight_T = torch.where(
        advantage_T >= 0, ratio_T.clamp(max=ratio_max), ratio_T.clamp(min=0.0, max=1.0)
    )
    return -weight_T * advantage_T * logprobs_T
