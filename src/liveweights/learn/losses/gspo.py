"""GSPO: one importance ratio for a whole answer, for mixture-of-experts models."""

from __future__ import annotations

import torch
from torch import Tensor

from liveweights.learn.losses.ratio import length_by_row, mean_by_row


def gspo_loss(
    logprobs_T: Tensor,
    behaviour_T: Tensor,
    advantage_B: Tensor,
    row_T: Tensor,
    *,
    clip: float = 0.2,
) -> Tensor:
    """-min(s A, clip(s, 1 - clip, 1 + clip) A) of each row, spread over its tokens -> (T,).

    s is the geometric mean of pi_t / mu_t over the answer (GSPO, arXiv 2507.18071, eq. 5 to 7),
    with gradient. Expert routing makes single tokens' ratios jump from one set of weights to the
    next; their mean over the answer does not. Biased by design (the sequence's true ratio is a
    product, not a mean); exact on answers of one token within the clip.
    """
    rows = len(advantage_B)
    ratio_B = mean_by_row(logprobs_T - behaviour_T, row_T, rows).exp()
    clipped_B = ratio_B.clamp(1.0 - clip, 1.0 + clip)
    loss_B = -torch.minimum(ratio_B * advantage_B, clipped_B * advantage_B)
    return (loss_B / length_by_row(logprobs_T, row_T, rows))[row_T]
