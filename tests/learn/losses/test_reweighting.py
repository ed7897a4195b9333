from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.losses.bandit import ARMS, logits

from liveweights.learn.losses.reweighting import reweight

alphas = st.floats(0, 1)
logprobs = st.floats(-30, 0)


def reweighted(advantage: float, logprob: float, alpha: float) -> float:
    values = torch.tensor([advantage, logprob], dtype=torch.float64)
    return float(reweight(values[:1], values[1:], alpha=alpha)[0])


@given(st.floats(0, 2), logprobs, alphas)
def test_what_is_accepted_keeps_its_advantage(
    advantage: float, logprob: float, alpha: float
) -> None:
    assert reweighted(advantage, logprob, alpha) == advantage


@given(st.floats(-2, -0.01), logprobs, alphas)
def test_a_rejected_token_is_weighted_between_its_probability_and_one(
    advantage: float, logprob: float, alpha: float
) -> None:
    share = reweighted(advantage, logprob, alpha) / advantage
    assert math.isclose(share, 1 - alpha * (1 - math.exp(logprob)), rel_tol=1e-9, abs_tol=1e-12)
    assert math.exp(logprob) - 1e-12 <= share <= 1 + 1e-12


@given(logits, st.integers(0, ARMS - 1))
def test_a_rejected_token_moves_the_logits_at_most_by_its_variance(
    theta: list[float], arm: int
) -> None:
    """pi (1 - pi) of it: nothing where it is not said, unlike the plain gradient's 1 - pi."""
    theta_V = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    logprob_V = torch.log_softmax(theta_V, 0)
    advantage_V = torch.full((ARMS,), -1.0, dtype=torch.float64)
    (-reweight(advantage_V, logprob_V, alpha=1.0) * logprob_V)[arm].backward()
    assert theta_V.grad is not None
    chance = float(logprob_V.detach()[arm].exp())
    assert math.isclose(float(theta_V.grad[arm]), chance * (1 - chance), rel_tol=1e-6)


def test_the_weight_has_no_gradient() -> None:
    logprob_T = torch.tensor([-1.0], requires_grad=True)
    assert not reweight(torch.tensor([-1.0]), logprob_T, alpha=1.0).requires_grad
