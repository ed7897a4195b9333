"""Prices by names, by addresses, and as they are kept."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.catalog.prices import (
    HourPrice,
    ListedPrice,
    PriceList,
    Provider,
    encode_prices,
    read_prices,
)

DOLLARS = st.none() | st.floats(0, 1000, allow_nan=False)
PRICES = st.builds(
    ListedPrice,
    provider=st.just("seller"),
    model=st.text(min_size=1),
    input=DOLLARS,
    output=DOLLARS,
    cached_input=DOLLARS,
    hours=st.lists(st.builds(HourPrice, begin=st.times(), end=st.times(), input=DOLLARS)).map(
        tuple
    ),
    since=st.none() | st.dates(),
)


def make_list(*prices: ListedPrice, address: str = r"https://api\.seller\.com") -> PriceList:
    provider = Provider(
        name="Seller", address=address, prices={price.model: price for price in prices}
    )
    return PriceList(version="v", providers={"seller": provider})


@given(st.lists(PRICES, unique_by=lambda price: price.model.lower()))
def test_each_is_found_by_its_own_name_whatever_its_case(prices: list[ListedPrice]) -> None:
    listed = make_list(*prices)
    for price in prices:
        assert listed.find("Seller", price.model) == price
        assert listed.find_by_address("https://api.seller.com/v1", price.model) == price
        assert listed.find("other", price.model) is None
        assert listed.find_by_address("https://api.other.com/v1", price.model) is None


def test_a_name_that_is_alike_has_no_price() -> None:
    listed = make_list(ListedPrice(provider="seller", model="big-2", input=1.0))
    assert listed.find("seller", "BIG-2") is not None
    assert listed.find("seller", "big") is None
    assert listed.find("seller", "big-2-fast") is None


@given(st.lists(PRICES, unique_by=lambda price: price.model))
def test_a_list_is_kept_as_it_was(prices: list[ListedPrice]) -> None:
    import tempfile

    listed = make_list(*prices)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prices.json"
        file.write_bytes(encode_prices(listed))
        assert read_prices(file) == listed


@given(st.lists(PRICES, max_size=4), st.lists(PRICES, max_size=4), st.dates())
def test_an_own_price_overrules_the_list_from_when_it_began(
    theirs: list[ListedPrice], own: list[ListedPrice], day: date
) -> None:
    listed = make_list(*{price.model.lower(): price for price in theirs}.values())
    both = listed.overruled(own, day)
    for price in (*theirs, *own):
        began = [
            (one.since or date.min, number)
            for number, one in enumerate(own)
            if one.model.lower() == price.model.lower() and (one.since or date.min) <= day
        ]
        expected = own[max(began)[1]] if began else listed.find("seller", price.model)
        assert both.find("seller", price.model) == expected
        assert both.find_by_address("https://api.seller.com/v1", price.model) == expected


def test_a_seller_that_the_list_lacks_has_no_address() -> None:
    price = ListedPrice(provider="Acme", model="kimi", input=0.4)
    both = make_list().overruled([price], date(2026, 11, 30))
    assert both.find("acme", "Kimi") == price
    assert both.find_by_address("", "kimi") is None
    assert both.find_by_address("https://acme.example", "kimi") is None


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"version": 3}')
    with pytest.raises(ValueError, match=r"prices\.json is no list of prices: .*refresh"):
        read_prices(file)
