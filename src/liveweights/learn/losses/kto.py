"""KTO: learning from good and bad answers whose sampling probabilities nobody recorded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from liveweights.learn.losses.divergence import divergence
from liveweights.learn.losses.ratio import length_by_row


def kto_loss(
    logprobs_T: Tensor,
    incumbent_T: Tensor,
    advantage_B: Tensor,
    row_T: Tensor,
    *,
    reference_point: Tensor,
    beta: float = 0.1,
) -> Tensor:
    """|A| (1 - v) of each row, spread over its tokens -> (T,).

    With r = log pi(y) - log pi_incumbent(y): v = sigmoid(beta (r - z)) where A > 0, and
    sigmoid(beta (z - r)) where A < 0 (KTO, arXiv 2402.01306, eq. 8). |A| takes the place of its
    constants lambda. ``reference_point`` is z >= 0, the policy's divergence from the incumbent in
    nats per answer, a scalar without gradient; the paper estimates it from mismatched pairs of
    prompt and answer, here it is measured on the step's own answers (``find_reference_point``).
    """
    rows = len(advantage_B)
    reward_B = logprobs_T.new_zeros(rows).index_add(0, row_T, logprobs_T - incumbent_T)
    value_B = torch.sigmoid(beta * advantage_B.sign() * (reward_B - reference_point.detach()))
    loss_B = advantage_B.abs() * (1.0 - value_B)
    return (loss_B / length_by_row(logprobs_T, row_T, rows))[row_T]


def find_reference_point(now: Sequence[Tensor], incumbent: Sequence[Tensor]) -> Tensor:
    """The policy's divergence from the incumbent in nats per answer, a scalar without gradient, of
    each answer's log-probabilities (T,) under both. Of all that a step learns so: rows of one step
    are held against one point, however they are divided into passes and among processes."""
    apart = [divergence(n, was).sum() for n, was in zip(now, incumbent, strict=True)]
    return torch.stack(apart).mean().detach()
