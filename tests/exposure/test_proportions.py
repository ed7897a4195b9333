from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.exposure.proportions import difference_of, rate_of


def test_intervals_are_those_of_the_paper() -> None:
    # Newcombe 1998, table II, case (a): 56 of 70 minus 48 of 80, methods 3 and 10.
    one, other = rate_of(56, 70), rate_of(48, 80)
    assert one is not None
    assert other is not None
    difference = difference_of(one, other)
    assert difference.value == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    none = rate_of(0, 10)
    assert none is not None
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=5e-5)
    assert rate_of(0, 0) is None


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_intervals_hold_the_value_and_turn_round(a: int, b: int, c: int, d: int) -> None:
    one, other = rate_of(a, a + b), rate_of(c, c + d)
    if one is None or other is None:
        return
    assert 0 <= one.low <= one.value <= one.high <= 1
    there, back = difference_of(one, other), difference_of(other, one)
    assert there.low <= there.value <= there.high
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
