"""What a model is said to cost: the one place where that is decided, for routes, for `/v1/models`
and for the pages of models."""

from __future__ import annotations

from datetime import UTC

from liveweights.meter.money import NANOS
from liveweights.meter.price_book import Held
from liveweights.meter.prices import MILLION, NOTHING, PriceRow, Tokens, charge
from liveweights.serve.api.profile import Pricing

DOLLARS = "USD"
_INPUT = NOTHING._replace(prompt=MILLION)
_CACHED = NOTHING._replace(prompt=MILLION, cached=MILLION)
_OUTPUT = NOTHING._replace(output=MILLION)
_REASONING = NOTHING._replace(output=MILLION, reasoning=MILLION)
_REQUEST = NOTHING._replace(requests=1)


def find_pricing(held: Held, known: Pricing | None) -> Pricing | None:
    """By the price that holds in the ledger, with what the upstream asks where that is passed on;
    where there is none, as is ``known`` from the settings or a provider's list."""
    price = held.price
    if price is None:
        return known
    return Pricing(
        input=_of(held, price, _INPUT),
        output=_of(held, price, _OUTPUT),
        cached_input=_of(held, price, _CACHED),
        reasoning=_of(held, price, _REASONING),
        request=_of(held, price, _REQUEST),
        currency=price.currency,
        version=f"price {price.id}",
        since=price.since.astimezone(UTC).isoformat(timespec="seconds"),
        source=price.source,
    )


def in_dollars(pricing: Pricing | None) -> tuple[float | None, float | None]:
    """US dollars for a million tokens of prompt, and of answer, which routes compare; None: not
    known, as of a price in another currency."""
    if pricing is None or pricing.currency != DOLLARS:
        return None, None
    return pricing.input, pricing.output


def _of(held: Held, price: PriceRow, tokens: Tokens) -> float:
    cost = held.cost
    asked = 0
    if cost is not None and cost.currency == price.currency:
        asked = charge(cost, tokens)
    return charge(price, tokens, asked) / NANOS
