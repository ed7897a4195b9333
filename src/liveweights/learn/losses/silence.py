"""Saying nothing as a decision of its own, apart from what is said.

The first token of an answer decides two things: whether to speak, and with what. A user who
rejects a suggestion and writes something else tells us what should have been written, not that
something should have been suggested. So the policy is read as P(silence) and P(text | speech),
and each learns from what is known about it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST = -1e-6
"""Largest log-probability of silence that is told from certainty."""


def log_speech(silence_B: Tensor) -> Tensor:
    """log(1 - P(silence)) from log P(silence) -> (B,)."""
    return torch.log(-torch.expm1(silence_B.clamp(max=_LARGEST)))


def given_speech(logprobs_T: Tensor, silence_T: Tensor) -> Tensor:
    """log P(token | speech) -> (T,). ``silence_T`` holds log P(silence) at the first token of an
    answer, and minus infinity, which changes nothing, everywhere else."""
    return logprobs_T - log_speech(silence_T)


def decision_loss(silence_B: Tensor, gain_B: Tensor) -> Tensor:
    """Cost-sensitive logistic loss of the decision -> (B,).

    ``gain_B`` is what silence would have earned more than the answer did: known without trying
    it. gain > 0: -gain log P(silence); gain < 0: gain log(1 - P(silence)). Its minimum is
    P(silence) = g / (g + l), with g the mean gain where silence was better and l the mean loss
    where it was not: above one half exactly where silence is worth more on average (Elkan 2001,
    "The foundations of cost-sensitive learning", section 2). Unlike the policy gradient it does
    not vanish for a policy that is never silent yet.
    """
    better_B = gain_B.clamp(min=0.0)
    worse_B = (-gain_B).clamp(min=0.0)
    return -better_B * silence_B - worse_B * log_speech(silence_B)
