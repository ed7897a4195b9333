"""What a model is said to cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.charges import Counts, assess
from liveweights.meter.money import NANOS
from liveweights.meter.price_book import NOTHING_HELD, Held
from liveweights.meter.prices import MILLION, PriceRow
from liveweights.serve.api.pricing import find_pricing, in_dollars
from liveweights.serve.api.profile import Pricing

SINCE = datetime(2026, 11, 1, 12, tzinfo=UTC)
LISTED = Pricing(input=0.5, output=2.0, currency="USD", version="list 7", since="2026-10-01")
ROW = PriceRow(
    id=7, since=SINCE, model="code", input=NANOS, cached_input=NANOS // 2, output=3 * NANOS,
    reasoning=4 * NANOS, request=NANOS // 1000,
)  # fmt: skip
nanos = st.integers(0, 100 * NANOS)
rows = st.builds(
    PriceRow, since=st.just(SINCE), input=nanos, cached_input=nanos, output=nanos,
    reasoning=nanos, request=nanos, markup_ppm=st.none() | st.integers(0, MILLION),
    currency=st.sampled_from(["USD", "EUR"]),
)  # fmt: skip


def test_the_ledgers_price_comes_before_what_is_known_beside_it() -> None:
    found = find_pricing(Held(ROW, None), LISTED)
    assert found == Pricing(
        input=1.0, output=3.0, cached_input=0.5, reasoning=4.0, request=0.001, currency="USD",
        version="price 7", since="2026-11-01T12:00:00+00:00", source="operator",
    )  # fmt: skip
    assert find_pricing(NOTHING_HELD, LISTED) is LISTED
    assert find_pricing(Held(None, ROW), LISTED) is LISTED  # what we pay is no price of ours
    assert find_pricing(NOTHING_HELD, None) is None


def test_what_is_given_away_is_said_to_cost_nothing() -> None:
    given = PriceRow(id=8, since=SINCE, model="code", source="settings")
    found = find_pricing(Held(given, None), LISTED)
    assert found is not None
    assert (found.input, found.output) == (0.0, 0.0)


@given(
    price=rows, cost=st.none() | rows.map(lambda row: replace(row, side="cost", markup_ppm=None))
)
def test_what_is_told_is_what_a_million_tokens_are_charged(
    price: PriceRow, cost: PriceRow | None
) -> None:
    held = Held(price, cost)
    told = find_pricing(held, None)
    assert told is not None
    for value, counts in (
        (told.input, Counts(MILLION, 0, requests=0)),
        (told.cached_input, Counts(MILLION, 0, cached=MILLION, requests=0)),
        (told.output, Counts(0, MILLION, requests=0)),
        (told.reasoning, Counts(0, MILLION, reasoning=MILLION, requests=0)),
        (told.request, Counts(0, 0)),
    ):
        assert value == assess(held, counts, withheld=False).amount / NANOS


def test_routes_compare_dollars() -> None:
    assert in_dollars(LISTED) == (0.5, 2.0)
    assert in_dollars(Pricing(input=1.0, output=2.0, currency="EUR")) == (None, None)
    assert in_dollars(None) == (None, None)
