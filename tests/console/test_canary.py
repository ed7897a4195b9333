from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.canary import Wealth, thin


@given(st.integers(0, 500), st.integers(1, 60))
def test_a_long_path_is_thinned_to_its_end(length: int, most: int) -> None:
    path = [Wealth(comparison=number, worse=0.0, not_worse=1.0) for number in range(length)]
    kept = thin(path, most)
    assert len(kept) == min(length, most)
    assert kept[-1:] == tuple(path[-1:])
    assert list(kept) == sorted(set(kept), key=lambda one: one.comparison)
