"""CISPO: policy gradient with clipped importance weights."""

from __future__ import annotations

from torch import Tensor


def cispo_loss(
    logprobs_T: Tensor, behaviour_T: Tensor, advantage_T: Tensor, *, ratio_max: float = 2.0
) -> Tensor:
    """-sg(min(rho_t, ratio_max)) A log pi_t -> (T,), with rho_t = pi_t / mu_t.

    CISPO (MiniMax-M1, arXiv 2506.13585, eq. 4 and 5; as there, only the upper bound is used).
    The weight is clipped and not the update: every token keeps a gradient, also the rare ones
    that PPO's clip drops. Unlike `topr_loss` it treats both signs of the advantage alike.
    Unbiased where no ratio is clipped.
    """
    return (
        -(logprobs_T - behaviour_T).detach().exp().clamp(max=ratio_max) * advantage_T * logprobs_T
    )
