"""What an answer is charged, and by which of its counts. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
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


class Counts(NamedTuple):
    """Of an answer that has not been recorded."""

    prompt: int
    output: int
    cached: int = 0
    reasoning: int = 0
    requests: int = 1
    sent: int | None = None


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


def bound(held: Held, prompt: int, output: int, *, requests: int = 1) -> int:
    """The most, in nanos, that an answer of so many tokens can be charged: it is not known yet how
    many of its prompt come from a cache, and how many of its own are thought before it speaks. At
    least what ``assess`` says of any answer with no more tokens. Pure."""
    counts = Counts(prompt, output, requests=requests)
    return assess(_dearest(held), counts, withheld=False).amount


def bound_cost(held: Held, prompt: int, output: int) -> int:
    """The most, in nanos, that such an answer costs us; see ``cost_of``."""
    dearest = _dearest(held)
    return cost_of(dearest, assess(dearest, Counts(prompt, output), withheld=False))


def cost_of(held: Held, charged: Charged) -> int:
    """What an answer costs us: what its upstream asks, else what is charged for it."""
    return charged.amount if held.cost is None else charged.cost


@lru_cache(maxsize=4096)
def _dearest(held: Held) -> Held:
    """With the dearer one of two prices for both, whatever a token turns out to be."""
    return Held(*(price and _level(price) for price in (held.price, held.cost)))


def _level(price: PriceRow) -> PriceRow:
    prompt = max(price.input, price.cached_input)
    output = max(price.output, price.reasoning)
    return replace(price, input=prompt, cached_input=prompt, output=output, reasoning=output)


_UNPRICED = Charged("unpriced", 0, 0)


def _same_money(price: PriceRow, upstream: PriceRow | None) -> bool:
    return upstream is not None and upstream.currency == price.currency
