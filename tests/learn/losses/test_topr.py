from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.losses.bandit import (
    exact_gradient,
    expected_gradient,
    logits,
    rewards,
    token_gradient,
)

from liveweights.learn.losses.topr import topr_loss

finite = st.floats(-5, 0)


def gradient(logprob: float, behaviour: float, advantage: float) -> float:
    def loss(pi: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
        return topr_loss(pi, mu, torch.tensor([advantage], dtype=torch.float64))

    return token_gradient(loss, logprob, behaviour)


@given(finite, finite)
def test_no_advantage_no_gradient(logprob: float, behaviour: float) -> None:
    assert gradient(logprob, behaviour, 0.0) == 0.0


@given(finite, finite, st.floats(0.01, 1))
def test_positive_advantages_are_truncated_at_two(
    logprob: float, behaviour: float, advantage: float
) -> None:
    expected = -min(math.exp(logprob - behaviour), 2.0) * advantage
    assert math.isclose(gradient(logprob, behaviour, advantage), expected, rel_tol=1e-6)


@given(finite, finite, st.floats(-1, -0.01))
def test_negative_advantages_never_weigh_more_than_on_policy(
    logprob: float, behaviour: float, advantage: float
) -> None:
    expected = -min(math.exp(logprob - behaviour), 1.0) * advantage
    assert math.isclose(gradient(logprob, behaviour, advantage), expected, rel_tol=1e-6)


@given(logits, rewards)
def test_on_policy_it_is_the_gradient_of_the_expected_reward(
    theta: list[float], reward: list[float]
) -> None:
    found = expected_gradient(
        theta, theta, lambda pi, mu: topr_loss(pi, mu, torch.tensor(reward, dtype=torch.float64))
    )
    assert torch.allclose(found, exact_gradient(theta, reward), atol=1e-9)


@given(logits, logits, rewards)
def test_off_policy_it_is_unbiased_while_nothing_is_truncated(
    theta: list[float], mu: list[float], reward: list[float]
) -> None:
    """With an unreachable bound and rewards of one sign, importance sampling corrects for mu."""
    positive = [abs(value) for value in reward]
    values = torch.tensor(positive, dtype=torch.float64)
    found = expected_gradient(
        theta, mu, lambda pi, behaviour: topr_loss(pi, behaviour, values, ratio_max=1e9)
    )
    assert torch.allclose(found, exact_gradient(theta, positive), atol=1e-9)


def test_a_vanishing_reject_is_left_alone() -> None:
    assert abs(gradient(-20.0, -1.0, -1.0)) < 1e-8
