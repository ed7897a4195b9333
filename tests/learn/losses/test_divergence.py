from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.losses.bandit import expected_gradient, logits, token_gradient

from liveweights.learn.losses.divergence import BEND, LEAST, MOST, adapt, divergence

finite = st.floats(-8, 0)
near = st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4)


@given(finite, finite)
def test_it_is_never_negative_and_nothing_where_both_agree(one: float, other: float) -> None:
    pi, reference = torch.tensor([one]), torch.tensor([other])
    assert float(divergence(pi, reference)[0]) >= 0
    assert float(divergence(pi, pi)[0]) == 0


@given(logits, near)
def test_its_expected_gradient_is_that_of_the_divergence(
    theta: list[float], shift: list[float]
) -> None:
    other = [a + b for a, b in zip(theta, shift, strict=True)]
    reference = torch.log_softmax(torch.tensor(other, dtype=torch.float64), 0)
    policy = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    logprobs = torch.log_softmax(policy, 0)
    (logprobs.exp() * (logprobs - reference)).sum().backward()
    assert policy.grad is not None
    found = expected_gradient(theta, theta, lambda pi, mu: divergence(pi, reference))
    assert torch.allclose(found, -policy.grad, atol=1e-9)


@given(finite, finite)
def test_one_token_pulls_with_bounded_force(one: float, other: float) -> None:
    pull = token_gradient(lambda pi, reference: divergence(pi, reference), one, other)
    assert abs(pull) <= BEND + 1e-9
    assert pull * (one - other) >= 0


@given(st.floats(LEAST, MOST), st.floats(0, 10), st.floats(0.001, 1))
def test_the_weight_pulls_towards_the_target(weight: float, seen: float, target: float) -> None:
    found = adapt(weight, seen, target)
    assert LEAST <= found <= MOST
    if seen > 1.5 * target:
        assert found >= weight
    elif seen < target / 1.5:
        assert found <= weight
    else:
        assert found == weight
