from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.losses.bandit import exact_gradient, expected_gradient, logits, rewards

from liveweights.learn.losses.gspo import gspo_loss

ROW = torch.tensor([0, 0, 0, 1])
logprobs = st.lists(st.floats(-3, -0.1), min_size=4, max_size=4)


def gradients(pi: list[float], mu: list[float], advantages: list[float]) -> torch.Tensor:
    value = torch.tensor(pi, dtype=torch.float64, requires_grad=True)
    behaviour = torch.tensor(mu, dtype=torch.float64)
    gspo_loss(value, behaviour, torch.tensor(advantages, dtype=torch.float64), ROW).sum().backward()
    assert value.grad is not None
    return value.grad


@given(logprobs, logprobs)
def test_no_advantage_no_gradient(pi: list[float], mu: list[float]) -> None:
    assert not gradients(pi, mu, [0.0, 0.0]).any()


@given(logprobs, logprobs)
def test_every_token_of_an_answer_gets_the_same_gradient(pi: list[float], mu: list[float]) -> None:
    assert torch.allclose(*gradients(pi, mu, [0.5, -0.5])[:3].split([1, 2]))


def test_the_ratio_is_the_answers_geometric_mean() -> None:
    mu = [-1.0, -1.0, -1.0, -1.0]
    pi = [-1.0 + 0.3, -1.0, -1.0 - 0.15, -1.0]  # mean log-ratio 0.05
    found = gradients(pi, mu, [1.0, 0.0])
    assert found[:3].tolist() == pytest.approx([-math.exp(0.05) / 3] * 3)


@pytest.mark.parametrize(("shift", "advantage"), [(0.5, 1.0), (-0.5, -1.0)])
def test_beyond_the_clip_nothing_is_pushed_further(shift: float, advantage: float) -> None:
    assert not gradients([-1 + shift] * 4, [-1.0] * 4, [advantage, advantage]).any()


@given(logits, rewards)
def test_one_token_on_policy_it_is_the_policy_gradient(
    theta: list[float], reward: list[float]
) -> None:
    arms = torch.arange(len(theta))
    values = torch.tensor(reward, dtype=torch.float64)
    found = expected_gradient(theta, theta, lambda pi, mu: gspo_loss(pi, mu, values, arms))
    assert torch.allclose(found, exact_gradient(theta, reward), atol=1e-9)
