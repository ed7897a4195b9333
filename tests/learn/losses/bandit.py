"""A toy policy whose gradients are known: one token out of V, drawn from a softmax."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

ARMS = 4
logits = st.lists(st.floats(-1.5, 1.5), min_size=ARMS, max_size=ARMS)
rewards = st.lists(st.floats(-1, 1), min_size=ARMS, max_size=ARMS)
Loss = Callable[[Tensor, Tensor], Tensor]
"""Log-probabilities of policy and behaviour policy for all arms -> (V,) losses, one per arm."""


def exact_gradient(theta_V: list[float], reward_V: list[float]) -> Tensor:
    """Gradient of the expected reward under the softmax policy."""
    theta = torch.tensor(theta_V, dtype=torch.float64, requires_grad=True)
    (torch.softmax(theta, 0) * torch.tensor(reward_V, dtype=torch.float64)).sum().backward()
    assert theta.grad is not None
    return theta.grad


def expected_gradient(theta_V: list[float], mu_V: list[float], loss: Loss) -> Tensor:
    """Minus the loss's gradient, in expectation over arms drawn from softmax(mu)."""
    theta = torch.tensor(theta_V, dtype=torch.float64, requires_grad=True)
    behaviour = torch.log_softmax(torch.tensor(mu_V, dtype=torch.float64), 0)
    (behaviour.exp() * loss(torch.log_softmax(theta, 0), behaviour)).sum().backward()
    assert theta.grad is not None
    return -theta.grad


def token_gradient(loss: Loss, logprob: float, behaviour: float) -> float:
    """The loss's gradient with respect to one token's log-probability."""
    value = torch.tensor([logprob], dtype=torch.float64, requires_grad=True)
    loss(value, torch.tensor([behaviour], dtype=torch.float64)).sum().backward()
    assert value.grad is not None
    return float(value.grad[0])
