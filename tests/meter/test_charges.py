from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.charges import assess, bound
from liveweights.meter.price_book import Held
from liveweights.meter.prices import EPOCH, PriceRow, Tokens
from liveweights.record.generation import Counts

from .test_prices import prices, used

PRICE = PriceRow(id=1, since=EPOCH, input=1_000_000, cached_input=0, output=2_000_000, reasoning=0)
COST = PriceRow(id=2, since=EPOCH, side="cost", input=500_000, output=500_000)
MARKED_UP = PriceRow(id=3, since=EPOCH, markup_ppm=200_000)


def test_the_upstreams_price_stands_beside_ours() -> None:
    charged = assess(Held(PRICE, COST), Counts(100, 10), withheld=False)
    assert (charged.rule, charged.amount, charged.cost) == ("sampled", 120, 55)


def test_the_upstream_is_owed_for_what_is_not_charged() -> None:
    for counts, withheld in ((Counts(100, 10, sent=0), False), (Counts(100, 10), True)):
        charged = assess(Held(PRICE, COST), counts, withheld=withheld)
        assert (charged.amount, charged.cost) == (0, 55)
    assert assess(Held(None, COST), Counts(100, 10), withheld=False) == ("unpriced", 0, 55)


def test_a_markup_is_on_what_the_upstream_asks() -> None:
    assert assess(Held(MARKED_UP, COST), Counts(100, 10), withheld=False).amount == 66
    assert assess(Held(MARKED_UP, COST), Counts(100, 10, sent=0), withheld=False).amount == 0
    assert assess(Held(MARKED_UP, COST), Counts(100, 10, requests=0), withheld=False).amount == 66


def test_money_of_two_currencies_is_not_added() -> None:
    other = PriceRow(id=4, since=EPOCH, side="cost", input=500_000, output=500_000, currency="EUR")
    charged = assess(Held(MARKED_UP, other), Counts(100, 10), withheld=False)
    assert (charged.amount, charged.cost) == (0, 55)


def test_without_any_price_nothing_is_owed() -> None:
    assert assess(Held(None, None), Counts(100, 10), withheld=False) == ("unpriced", 0, 0)


@given(
    ours=st.none() | prices(),
    theirs=st.none() | prices(),
    used=used(),
    sent=st.none() | st.integers(0, 2**31),
    withheld=st.booleans(),
    more=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_no_answer_costs_more_than_its_bound(
    ours: PriceRow | None,
    theirs: PriceRow | None,
    used: Tokens,
    sent: int | None,
    withheld: bool,
    more: tuple[int, int],
) -> None:
    cost = theirs and replace(theirs, side="cost", markup_ppm=None)
    held = Held(ours, cost)
    counts = Counts(used.prompt, used.output, used.cached, used.reasoning, used.requests, sent)
    most = bound(held, used.prompt + more[0], used.output + more[1], requests=1)
    assert assess(held, counts, withheld=withheld).amount <= most


def test_a_bound_is_what_the_dearest_answer_costs() -> None:
    row = replace(PRICE, reasoning=3_000_000, cached_input=2_000_000)
    dearest = assess(Held(row, None), Counts(100, 10, cached=100, reasoning=10), withheld=False)
    assert bound(Held(row, None), 100, 10) == dearest.amount == 230
    assert bound(Held(PRICE, None), 100, 10) == 120
    assert bound(Held(None, None), 100, 10) == 0
