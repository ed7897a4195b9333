"""Likelihood of what the user wrote instead."""

from __future__ import annotations

from torch import Tensor


def demonstration_loss(logprobs_T: Tensor, weight_T: Tensor) -> Tensor:
    """-w log pi_t -> (T,): behaviour cloning (Pomerleau 1991), weighted."""
    return -weight_T * logprobs_T
