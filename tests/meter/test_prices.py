from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.prices import (
    EPOCH,
    NOTHING,
    Price,
    PriceRow,
    Tokens,
    charge,
    choose,
    micros,
    price_from,
)

amounts = st.integers(0, 10**15)
counts = st.integers(0, 2**31)


@st.composite
def used(draw: st.DrawFn) -> Tokens:
    prompt, output = draw(counts), draw(counts)
    cached, reasoning = draw(st.integers(0, prompt)), draw(st.integers(0, output))
    return Tokens(prompt, cached, output, reasoning, draw(st.integers(0, 1)))


@st.composite
def prices(draw: st.DrawFn) -> PriceRow:
    names = ("input", "cached_input", "output", "reasoning", "request")
    return PriceRow(
        since=EPOCH,
        markup_ppm=draw(st.none() | st.integers(0, 10**6)),
        withheld=draw(st.sampled_from(["free", "charged"])),
        **{name: draw(amounts) for name in names},
    )


def exact(price: PriceRow, tokens: Tokens, cost: int) -> Fraction:
    """What the price says, worked out by somebody who rounds nothing."""
    per_million = Fraction(1, 10**6)
    total = per_million * price.input * (tokens.prompt - tokens.cached)
    total += per_million * price.cached_input * tokens.cached
    total += per_million * price.output * (tokens.output - tokens.reasoning)
    total += per_million * price.reasoning * tokens.reasoning
    total += price.request * tokens.requests
    if price.markup_ppm is not None:
        total += cost * (1 + price.markup_ppm * per_million)
    return total


@given(prices(), used(), st.integers(0, 10**15))
def test_a_charge_is_the_price_rounded_once(price: PriceRow, tokens: Tokens, cost: int) -> None:
    found, truth = charge(price, tokens, cost), exact(price, tokens, cost)
    assert abs(found - truth) <= Fraction(1, 2)
    if abs(found - truth) == Fraction(1, 2):
        assert found % 2 == 0
    assert 0 <= found < 2**63


def test_one_answer_by_hand() -> None:
    price = price_from(
        Price(input=0.15, cached_input=0.075, output=0.6, reasoning=1.2, request=0.001), "m"
    )
    tokens = Tokens(prompt=1000, cached=400, output=200, reasoning=50)
    # 600 * 150 + 400 * 75 + 150 * 600 + 50 * 1200 nanos, and a thousandth.
    assert charge(price, tokens) == 90_000 + 30_000 + 90_000 + 60_000 + 1_000_000


@given(prices(), used(), st.integers(0, 2**31))
def test_who_is_left_pays_for_what_was_sent(price: PriceRow, tokens: Tokens, sent: int) -> None:
    rule, billed = choose(price, tokens, sent, withheld=False)
    assert rule == "sent"
    assert billed.output <= min(sent, tokens.output)
    assert charge(price, billed) <= charge(price, tokens) or price.reasoning < price.output
    if sent == 0:
        assert billed == NOTHING
        assert charge(price, billed) == 0


@given(prices(), used())
def test_what_nobody_saw_is_free_unless_the_price_says_otherwise(
    price: PriceRow, tokens: Tokens
) -> None:
    rule, billed = choose(price, tokens, None, withheld=True)
    if price.withheld == "free":
        assert (rule, billed) == ("withheld", NOTHING)
    else:
        assert (rule, billed) == ("sampled", tokens)


def test_without_a_price_nothing_is_charged() -> None:
    assert choose(None, Tokens(1, 0, 1, 0), None, withheld=False) == ("unpriced", NOTHING)


def test_a_price_finer_than_a_billionth_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="more than 9 decimals"):
        msgspec.convert({"input": 0.12345678901}, Price)


def test_the_short_form_fills_in_what_it_leaves_out() -> None:
    row = price_from(Price(input=0.5, output=2.0, markup=0.25, currency="EUR"), "m")
    assert (row.input, row.cached_input) == (500_000_000, 500_000_000)
    assert (row.output, row.reasoning) == (2_000_000_000, 2_000_000_000)
    assert (row.markup_ppm, row.currency, row.source) == (250_000, "EUR", "settings")
    assert price_from(Price(), "m").is_nothing


@given(st.datetimes(datetime(1900, 1, 1), datetime(2500, 1, 1), timezones=st.just(UTC)))
def test_times_are_whole_microseconds(at: datetime) -> None:
    assert EPOCH + timedelta(microseconds=micros(at)) == at
    assert micros(at + timedelta(microseconds=1)) == micros(at) + 1
