"""Staying near the incumbent: a penalty, and a weight for it that adapts to a target."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST, MOST = 1e-3, 10.0
"""Bounds of the adaptive weight."""
BEND = 1.0
"""Nats of difference from which one token's penalty grows linearly."""


def divergence(logprobs_T: Tensor, reference_T: Tensor) -> Tensor:
    """Per-token penalty for KL(pi || reference) on tokens of the behaviour policy -> (T,).

    d^2 / 2 with d = log pi - log reference: the estimator k2 (Schulman 2020,
    http://joschu.net/blog/kl-approx.html), whose gradient in expectation over pi is that of the
    divergence; the gradient of k3 is not (Tang & Munos 2025, arXiv 2506.09477, section 3). Beyond
    ``BEND`` it goes on linearly (Huber 1964): a rejected token that falls by many nats would
    otherwise be all of the sum, and be pulled back with all of the gradient.
    """
    return torch.nn.functional.huber_loss(
        logprobs_T, reference_T.detach(), reduction="none", delta=BEND
    )


def adapt(weight: float, divergence: float, target: float) -> float:
    """The weight after a step that ended at this ``divergence`` (in units of ``target``).

    Raised by half above 1.5 times the target, lowered as much below target / 1.5: the adaptive
    penalty of PPO (arXiv 1707.06347, section 4) with a gentler factor, kept within bounds.
    """
    if divergence > 1.5 * target:
        weight *= 1.5
    elif divergence < target / 1.5:
        weight /= 1.5
    return min(max(weight, LEAST), MOST)
