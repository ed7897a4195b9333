from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.losses.kto import kto_loss

ROW = torch.tensor([0, 0, 1])


def gradients(
    pi: list[float], incumbent: list[float], advantages: list[float], z: float = 0.0
) -> torch.Tensor:
    value = torch.tensor(pi, dtype=torch.float64, requires_grad=True)
    reference = torch.tensor(incumbent, dtype=torch.float64)
    given = torch.tensor(advantages, dtype=torch.float64)
    kto_loss(value, reference, given, ROW, reference_point=torch.tensor(z)).sum().backward()
    assert value.grad is not None
    return value.grad


three = st.lists(st.floats(-4, -0.1), min_size=3, max_size=3)


@given(three, three, st.floats(0, 5))
def test_no_advantage_no_gradient(pi: list[float], incumbent: list[float], z: float) -> None:
    assert not gradients(pi, incumbent, [0.0, 0.0], z).any()


@given(three, three, st.floats(0, 5))
def test_good_answers_rise_bad_ones_fall(pi: list[float], incumbent: list[float], z: float) -> None:
    found = gradients(pi, incumbent, [0.7, -0.2], z)
    assert (found[:2] < 0).all()
    assert (found[2:] > 0).all()


def test_the_gradient_at_the_incumbent_is_known() -> None:
    """There r = z = 0: the derivative of |A| (1 - sigmoid(beta r)) is -|A| beta / 4."""
    found = gradients([-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0], [0.8, -0.4])
    assert found.tolist() == pytest.approx([-0.8 * 0.1 / 4, -0.8 * 0.1 / 4, 0.4 * 0.1 / 4])


def test_what_has_been_learnt_teaches_less() -> None:
    far = gradients([100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0])[0]
    assert abs(float(far)) < 0.1 * math.exp(-9)
