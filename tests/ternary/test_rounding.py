from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.weights.ternary.drawing import draw_matrix, same

from liveweights.ternary.rounding import fit_scales, output_loss, round_matrix, round_plainly


def draw(seed: int, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and X^T X of inputs that go together."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=random) / columns**0.5
    x = torch.randn(4 * columns, columns, generator=random) @ (mixing + torch.eye(columns))
    return torch.randn(rows, columns, generator=random), x.T @ x


@settings(max_examples=8)
@given(st.integers(0, 2**32), st.sampled_from([64, 128]))
def test_what_is_ternary_stays_as_it_is(seed: int, group: int) -> None:
    matrix = draw_matrix(seed, 3, 2 * group, group)
    _, gram = draw(seed, 1, 2 * group)
    weight = torch.from_numpy(matrix.dequantise())
    assert same(round_plainly(weight, group), matrix)
    rounded = round_matrix(weight, gram, group)
    assert same(rounded.matrix, matrix)
    assert rounded.loss == 0


@pytest.mark.parametrize("group", [64, 128])
def test_feedback_leaves_less_error_than_rounding_alone(group: int) -> None:
    weight, gram = draw(3, 32, 256)
    rounded = round_matrix(weight, gram, group)
    plain = output_loss(weight, round_plainly(weight, group), gram)
    assert rounded.loss == pytest.approx(output_loss(weight, rounded.matrix, gram))
    assert 0 < rounded.loss < 0.8 * plain


@given(st.integers(0, 2**32))
def test_the_scale_is_the_best_for_its_trits(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, 64, generator=random)
    importance = torch.rand(64, generator=random) + 0.1
    [scale] = fit_scales(weight, importance)
    chosen = weight.abs()[0] > scale / 2

    def error(at: float) -> float:
        return float((importance * (weight.abs()[0] - at * chosen) ** 2).sum())

    assert float(scale.half()) == float(scale)
    assert error(float(scale)) <= min(error(float(scale) * f) for f in (0.9, 1.1)) + 1e-4


def test_nothing_is_zeros_and_what_is_not_finite_is_refused() -> None:
    weight, gram = draw(4, 3, 64)
    zeros = round_matrix(torch.zeros(3, 64), gram, 64)
    assert not zeros.matrix.trits().any()
    assert np.array_equal(zeros.matrix.scales, np.zeros((3, 1), np.float16))
    unseen = round_matrix(weight, torch.zeros(64, 64), 64)  # inputs that never were
    assert unseen.loss == 0
    weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match="no finite"):
        round_matrix(weight, gram, 64)
