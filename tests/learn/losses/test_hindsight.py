from __future__ import annotations

import torch
from hypothesis import given
from tests.learn.losses.bandit import expected_gradient, logits

from liveweights.learn.losses.cispo import cispo_loss
from liveweights.learn.losses.hindsight import hindsight_advantage


@given(logits, logits, logits)
def test_it_is_the_gradient_of_the_divergence_from_the_policy_that_knows(
    theta: list[float], mu: list[float], knowing: list[float]
) -> None:
    """Descent on KL(pi || teacher), also from answers of another policy."""
    teacher = torch.log_softmax(torch.tensor(knowing, dtype=torch.float64), 0)
    policy = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    logprobs = torch.log_softmax(policy, 0)
    (logprobs.exp() * (logprobs - teacher)).sum().backward()
    assert policy.grad is not None

    def loss(pi: torch.Tensor, behaviour: torch.Tensor) -> torch.Tensor:
        advantage = hindsight_advantage(teacher, pi, limit=1e9)
        return cispo_loss(pi, behaviour, advantage, ratio_max=1e9)

    assert torch.allclose(expected_gradient(theta, mu, loss), -policy.grad, atol=1e-9)


@given(logits)
def test_a_reaction_that_changes_nothing_teaches_nothing(theta: list[float]) -> None:
    logprobs = torch.log_softmax(torch.tensor(theta), 0)
    assert not hindsight_advantage(logprobs, logprobs).any()


def test_one_token_cannot_dominate() -> None:
    found = hindsight_advantage(torch.tensor([-20.0, 0.0]), torch.tensor([0.0, -20.0]), limit=2.0)
    assert found.tolist() == [-2.0, 2.0]
