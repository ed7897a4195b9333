from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.budgets import MOST_NANOS, parse_money, show_money


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("12.50", 12_500_000_000),
        ("0.000000001", 1),
        ("-3", -3_000_000_000),
        ("1000000000", MOST_NANOS),
        ("0", 0),
    ],
)
def test_money_is_read_exactly(text: str, nanos: int) -> None:
    assert parse_money(text) == nanos


@pytest.mark.parametrize(
    "text",
    ["", "1,5", "1.", ".5", "1e3", "nan", "inf", "0.0000000001", "1000000001", "１", "1 ", "+1"],
)
def test_what_is_no_money_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is (no amount of money|more than a billion)"):
        parse_money(text)


@given(st.integers(-MOST_NANOS, MOST_NANOS))
def test_what_is_shown_can_be_read_again(nanos: int) -> None:
    assert parse_money(show_money(nanos)) == nanos
