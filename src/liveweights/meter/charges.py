"""What an answer is charged, and by which of its counts. Pure."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from liveweights.meter.price_book import Held
from liveweights.meter.prices import NOTHING, PriceRow, Rule, Tokens, charge, choose


class Counted(Protocol):
    """How many tokens an answer used; ``sent`` is None where it was not broken off by us."""

    @property
    def prompt(self) -> int: ...
    @property
    def cached(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def reasoning(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def sent(self) -> int | None: ...


class Charged(NamedTuple):
    """What an answer is charged, and what its upstream asks for it, in nanos."""

    rule: Rule
    amount: int
    cost: int


def assess(held: Held, counts: Counted, *, withheld: bool) -> Charged:
    """What an answer with these counts costs. Pure. The upstream asks for all that it sampled,
    whatever became of it."""
    price, upstream = held.price, held.cost
    if price is None and upstream is None:
        return _UNPRICED
    used = Tokens(counts.prompt, counts.cached, counts.output, counts.reasoning, counts.requests)
    cost = 0 if upstream is None else charge(upstream, used)
    rule, tokens = choose(price, used, counts.sent, withheld)
    if price is None:
        return Charged(rule, 0, cost)
    passed = cost if tokens is not NOTHING and _same_money(price, upstream) else 0
    return Charged(rule, charge(price, tokens, passed), cost)


_UNPRICED = Charged("unpriced", 0, 0)


def _same_money(price: PriceRow, upstream: PriceRow | None) -> bool:
    return upstream is not None and upstream.currency == price.currency
