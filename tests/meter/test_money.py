from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.money import (
    MOST_NANOS,
    divide,
    minor_digits,
    parse_money,
    scaled,
    show_minor,
    show_money,
    to_minor,
)


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9))
def test_division_rounds_halves_to_the_even_one(number: int, by: int) -> None:
    exact = (Decimal(number) / Decimal(by)) if by in (1, 2, 4, 5, 8, 10, 10**6) else None
    found = divide(number, by)
    assert abs(2 * (number - found * by)) <= by
    if 2 * abs(number - found * by) == by:
        assert found % 2 == 0
    if exact is not None and abs(number) < 10**15:
        assert found == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


@given(st.integers(-MOST_NANOS, MOST_NANOS))
def test_money_is_read_as_it_is_shown(nanos: int) -> None:
    assert parse_money(show_money(nanos)) == nanos


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,50", "no amount"),
        ("1.0000000001", "no amount"),
        ("", "no amount"),
        ("nan", "no amount"),
        ("9999999999", "more than a billion"),
    ],
)
def test_what_is_no_amount_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_money(text)


@given(st.integers(0, 10**12))
def test_a_setting_says_exactly_what_is_written(micros: int) -> None:
    value = float(f"{micros // 10**6}.{micros % 10**6:06d}")
    assert scaled(value, 6) == micros
    assert scaled(value, 9) == micros * 1000


def test_a_setting_that_is_too_fine_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 6 decimals"):
        scaled(0.1234567, 6)


@given(st.integers(0, 10**15))
def test_a_float_says_15_digits_of_an_amount(nanos: int) -> None:
    """What answers show: a reader of the JSON number gets the amount."""
    assert Decimal(repr(nanos / 10**9)) * 10**9 == nanos


def test_currencies_have_their_own_smallest_amounts() -> None:
    assert [minor_digits(code) for code in ("USD", "JPY", "KWD", "CLF")] == [2, 0, 3, 4]
    assert to_minor(1_005_000_000, "USD") == 100  # 1.005: the even one of 1.00 and 1.01
    assert to_minor(1_015_000_000, "USD") == 102
    assert to_minor(-1_015_000_000, "USD") == -102
    assert to_minor(2_500_000_000, "JPY") == 2
    assert [show_minor(n, "USD") for n in (0, 5, -5, 123456)] == [
        "0.00",
        "0.05",
        "-0.05",
        "1234.56",
    ]
    assert show_minor(-12, "JPY") == "-12"
    assert show_minor(7, "KWD") == "0.007"


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
