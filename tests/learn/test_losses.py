from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn import losses

finite = st.floats(-5, 0)


def gradient(logprob: float, behaviour: float, advantage: float) -> float:
    value = torch.tensor([logprob], requires_grad=True)
    losses.policy_loss(value, torch.tensor([behaviour]), torch.tensor([advantage])).sum().backward()
    assert value.grad is not None
    return float(value.grad[0])


@given(finite, finite)
def test_no_advantage_no_gradient(logprob: float, behaviour: float) -> None:
    assert gradient(logprob, behaviour, 0.0) == 0.0


@given(finite, finite, st.floats(0.01, 1))
def test_positive_advantages_are_truncated_at_two(
    logprob: float, behaviour: float, advantage: float
) -> None:
    expected = -min(math.exp(logprob - behaviour), 2.0) * advantage
    assert math.isclose(gradient(logprob, behaviour, advantage), expected, rel_tol=1e-4)


@given(finite, finite, st.floats(-1, -0.01))
def test_negative_advantages_never_weigh_more_than_on_policy(
    logprob: float, behaviour: float, advantage: float
) -> None:
    expected = -min(math.exp(logprob - behaviour), 1.0) * advantage
    assert math.isclose(gradient(logprob, behaviour, advantage), expected, rel_tol=1e-4)


def test_on_policy_it_is_the_policy_gradient() -> None:
    """Expected gradient over a two-armed bandit equals that of the expected reward."""
    logits = torch.tensor([0.3, -0.4], requires_grad=True)
    rewards = torch.tensor([0.75, -0.25])
    (torch.softmax(logits, 0) * rewards).sum().backward()
    assert logits.grad is not None
    exact, logits.grad = logits.grad.clone(), None
    logprobs = torch.log_softmax(logits, 0)
    weights = logprobs.detach().exp()
    (weights * losses.policy_loss(logprobs, logprobs.detach(), rewards)).sum().backward()
    assert torch.allclose(logits.grad, -exact, atol=1e-6)


@given(finite, finite)
def test_divergence_is_never_negative(one: float, other: float) -> None:
    assert float(losses.kl_estimate(torch.tensor([one]), torch.tensor([other]))[0]) >= -1e-6


def test_ratio_is_the_geometric_mean_of_a_row() -> None:
    ratio = losses.geometric_ratio(
        torch.tensor([math.log(2), math.log(8), 0.0]),
        torch.zeros(3),
        torch.tensor([0, 0, 1]),
        rows=2,
    )
    assert torch.allclose(ratio, torch.tensor([4.0, 1.0]))
