from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.insight.sparkline import BARS, sparkline


def test_bars_follow_the_numbers() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BARS
    assert sparkline([1.0, None, 0.0]) == "█ ▁"
    assert sparkline([3, 3]) == "▄▄"
    assert sparkline([0, 0, 7, 7], width=2) == "▁█"
    assert sparkline([]) == ""


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=200), st.integers(1, 60))
def test_never_wider_than_asked(values: list[float | None], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == min(width, len(values))
    assert set(drawn) <= {" ", *BARS}
