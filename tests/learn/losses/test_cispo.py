from __future__ import annotations

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

from liveweights.learn.losses.cispo import cispo_loss

finite = st.floats(-5, 0)


@given(finite, finite)
def test_no_advantage_no_gradient(logprob: float, behaviour: float) -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    assert token_gradient(lambda pi, mu: cispo_loss(pi, mu, zero), logprob, behaviour) == 0.0


@given(logits, logits, rewards)
def test_unbiased_under_importance_sampling(
    theta: list[float], mu: list[float], reward: list[float]
) -> None:
    values = torch.tensor(reward, dtype=torch.float64)
    found = expected_gradient(
        theta, mu, lambda pi, behaviour: cispo_loss(pi, behaviour, values, ratio_max=1e9)
    )
    assert torch.allclose(found, exact_gradient(theta, reward), atol=1e-9)


@given(st.floats(-1, 1).filter(lambda a: abs(a) > 0.01), st.floats(1, 4))
def test_a_clipped_token_keeps_its_gradient(advantage: float, bound: float) -> None:
    values = torch.tensor([advantage], dtype=torch.float64)
    found = token_gradient(
        lambda pi, mu: cispo_loss(pi, mu, values, ratio_max=bound), logprob=-0.1, behaviour=-5.0
    )
    assert abs(found - -bound * advantage) < 1e-9
