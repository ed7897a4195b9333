"""Staying near the incumbent: divergence, and a weight for it that adapts to a target."""

from __future__ import annotations

from torch import Tensor

LEAST, MOST = 1e-3, 10.0
"""Bounds of the adaptive weight."""


def kl_estimate(logprobs_T: Tensor, reference_T: Tensor) -> Tensor:
    """Per-token estimate of KL(pi || reference) on tokens of the behaviour policy -> (T,).

    k3 = r - 1 - log r with r = reference / pi: never negative, low variance
    (Schulman 2020, http://joschu.net/blog/kl-approx.html). The log-ratio is clamped to [-10, 10].
    """
    log_r_T = (reference_T - logprobs_T).clamp(-10.0, 10.0)
    return log_r_T.exp() - 1.0 - log_r_T


def adapt(weight: float, divergence: float, target: float) -> float:
    """The weight after a step that ended at ``divergence`` (same unit as ``target``).

    Raised by half above 1.5 times the target, lowered as much below target / 1.5: the adaptive
    penalty of PPO (arXiv 1707.06347, section 4) with a gentler factor, kept within bounds.
    """
    if divergence > 1.5 * target:
        weight *= 1.5
    elif divergence < target / 1.5:
        weight /= 1.5
    return min(max(weight, LEAST), MOST)
