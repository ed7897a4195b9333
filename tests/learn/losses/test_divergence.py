from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.losses.bandit import logits

from liveweights.learn.losses.divergence import LEAST, MOST, adapt, kl_estimate

finite = st.floats(-5, 0)


@given(finite, finite)
def test_an_estimate_is_never_negative(one: float, other: float) -> None:
    assert float(kl_estimate(torch.tensor([one]), torch.tensor([other]))[0]) >= -1e-6


@given(logits, logits)
def test_its_expectation_is_the_divergence(theta: list[float], other: list[float]) -> None:
    pi = torch.log_softmax(torch.tensor(theta, dtype=torch.float64), 0)
    reference = torch.log_softmax(torch.tensor(other, dtype=torch.float64), 0)
    exact = (pi.exp() * (pi - reference)).sum()
    assert torch.allclose((pi.exp() * kl_estimate(pi, reference)).sum(), exact, atol=1e-9)


@given(st.floats(LEAST, MOST), st.floats(0, 10), st.floats(0.001, 1))
def test_the_weight_pulls_towards_the_target(
    weight: float, divergence: float, target: float
) -> None:
    found = adapt(weight, divergence, target)
    assert LEAST <= found <= MOST
    if divergence > 1.5 * target:
        assert found >= weight
    elif divergence < target / 1.5:
        assert found <= weight
    else:
        assert found == weight
