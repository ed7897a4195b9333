"""A step that went too far is shortened to where it may end."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.settings import TOLERANCE
from liveweights.learn.trust import Line, find_scale, is_near

targets = st.floats(1e-3, 1.0)


@given(targets, st.floats(1.0, 1e4), st.floats(0.5, 6.0))
def test_of_any_power_law_the_point_of_the_target_is_found(
    target: float, times: float, power: float
) -> None:
    looks: list[float] = []

    def measure(scale: float) -> float:
        looks.append(scale)
        return target * times * scale**power

    found = find_scale(measure, target * times, target)
    assert is_near(found.divergence, target)
    assert found.divergence >= 0.8 * target or times <= 1 + TOLERANCE
    assert len(looks) <= 3


@given(targets, st.lists(st.floats(0.0, 1e6, allow_nan=False), min_size=9, max_size=9))
def test_whatever_is_measured_nothing_beyond_the_bound_is_returned(
    target: float, values: list[float]
) -> None:
    measured = {(0.0, 0.0), (1.0, values[0])}
    rest = iter(values[1:])

    def measure(scale: float) -> float:
        assert 0.0 < scale <= 1.0
        value = next(rest)
        measured.add((scale, value))
        return value

    found = find_scale(measure, values[0], target)
    assert is_near(found.divergence, target)
    assert (found.scale, found.divergence) in measured


@pytest.mark.parametrize("last", [0.0, 0.3])
@given(st.floats(0.05, 0.95))
def test_weights_that_move_in_leaps_are_moved_as_far_as_they_may(last: float, leap: float) -> None:
    """What is stored stays where it was up to ``leap``, and then moves on."""

    def measure(scale: float) -> float:
        return 0.9 + scale / 10 if scale > leap else last

    found = find_scale(measure, 2.0, 0.5)
    assert found.divergence == last
    assert 0.8 * leap < found.scale <= leap


@given(st.floats(0.01, 0.95))
def test_beyond_where_there_are_numbers_nothing_is_looked_for(last: float) -> None:
    def measure(scale: float) -> float:
        return scale**2 if scale <= last else float("nan")

    found = find_scale(measure, float("nan"), last**2 / 2)
    assert is_near(found.divergence, last**2 / 2)
    assert found.divergence > 0


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_the_way_back_is_exact(stored: torch.dtype) -> None:
    torch.manual_seed(0)
    start = torch.randn(64, 64).to(stored).float()
    moved = [torch.nn.Parameter(start.clone())]
    line = Line(moved)
    with torch.no_grad():
        moved[0] += 0.1
    end = moved[0].detach().clone()
    line.end()
    line.go(0.5)
    assert torch.allclose(moved[0], start + 0.05, atol=1e-6)
    with torch.no_grad():
        moved[0].copy_(moved[0].bfloat16())
    line.go(1.0)
    assert torch.equal(moved[0], end)
    line.go(0.0)
    assert torch.equal(moved[0], start)


def test_there_is_a_way_back_from_weights_that_are_no_numbers() -> None:
    weights = torch.tensor([1.0, 2.0])
    line = Line([weights])
    weights.copy_(torch.tensor([float("nan"), float("inf")]))
    line.end()
    line.go(0.0)
    assert weights.tolist() == [1.0, 2.0]
