from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.statistics import paired_difference
from liveweights.replay.comparison import clustered_mean


@given(st.lists(st.tuples(st.floats(-1, 1), st.sampled_from("abcd")), min_size=2, max_size=40))
def test_the_interval_is_the_gates(rows: list[tuple[float, str]]) -> None:
    values, files = [value for value, _ in rows], [file for _, file in rows]
    estimate = clustered_mean(values, files, 0.9)
    gates = paired_difference(values, [0.0] * len(values), files, 0.9)
    assert estimate.mean == pytest.approx(gates.mean)
    if gates.low is None:
        assert math.isnan(estimate.low)
    else:
        assert (estimate.low, estimate.high) == pytest.approx((gates.low, gates.high), abs=1e-12)
