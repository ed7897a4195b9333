from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.holm import holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_adjusted_as_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, made monotone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_values)
def test_between_the_raw_value_and_bonferroni_in_the_same_order(values: list[float]) -> None:
    adjusted = holm(values)
    for raw, ours in zip(values, adjusted, strict=True):
        assert raw <= ours <= min(1.0, len(values) * raw)
    pairs = sorted(zip(values, adjusted, strict=True))
    assert [ours for _, ours in pairs] == sorted(adjusted)


def test_one_true_hypothesis_among_false_ones_is_rejected_at_most_at_the_level() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(2000):
        values = [*rng.random(2), *(rng.random(3) * 1e-6)]  # two true, three hopelessly false
        rejected += min(holm(values)[:2]) <= 0.05
    assert rejected / 2000 <= 0.05 + 2 * (0.05 * 0.95 / 2000) ** 0.5
