"""What tokens cost: prices, and what an answer is charged by them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.meter.money import divide, scaled

Side = Literal["sale", "cost"]
"""What we ask, and what an upstream asks of us."""
Source = Literal["operator", "settings", "list"]
"""Who set it: the operator by a command, the settings file, or a list of what providers ask."""
Withheld = Literal["free", "charged"]
Rule = Literal["sampled", "sent", "withheld", "imported", "unpriced"]
"""By what an answer was charged: all that was sampled; what was sent before we broke off; nothing,
because nobody saw it; nothing, because it was given elsewhere; nothing, because nothing was asked
for it."""

MILLION = 1_000_000
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Postgres's: its times are microseconds since then."""
_MICROSECOND = timedelta(microseconds=1)
_Amount = Annotated[float, Meta(ge=0, le=bounds.WEIGHT)]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model costs from the service's start on: the short form of `liveweights prices
    add`. At most nine decimals each."""

    input: Annotated[
        float, Meta(ge=0, le=bounds.WEIGHT, description="Per million tokens of prompt.")
    ] = 0.0
    output: Annotated[
        float, Meta(ge=0, le=bounds.WEIGHT, description="Per million tokens of answer.")
    ] = 0.0
    cached_input: Annotated[
        _Amount | None,
        Meta(description="Per million tokens of prompt that came from a cache; none: as others."),
    ] = None
    reasoning: Annotated[
        _Amount | None,
        Meta(description="Per million tokens of thought before the answer; none: as others."),
    ] = None
    request: Annotated[float, Meta(ge=0, le=bounds.WEIGHT, description="Per request.")] = 0.0
    markup: Annotated[
        _Amount | None,
        Meta(
            description="Of a hosted model: what its upstream asks is charged, too, with this "
            "share on top; 0.2 is 20%. None: it is not."
        ),
    ] = None
    withheld: Annotated[
        Withheld,
        Meta(description="Whether answers that were sampled and not shown are charged."),
    ] = "free"
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217.")] = "USD"

    def __post_init__(self) -> None:
        price_from(self, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One immutable price: of the answers that are asked for from ``since`` on, until another one
    as particular is.

    ``input``, ``cached_input``, ``output`` and ``reasoning`` are nanos per million tokens,
    ``request`` nanos. ``markup_ppm``: what the upstream asks is charged with so many millionths on
    top; None: it is not. None as ``model``, ``tenant`` or ``plan``: any. ``withdrawn``: from then
    on its source asks nothing for the model, and what else there is holds.
    """

    id: int = 0
    since: datetime
    side: Side = "sale"
    model: str | None = None
    tenant: str | None = None
    plan: str | None = None
    currency: str = "USD"
    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0
    request: int = 0
    markup_ppm: int | None = None
    withheld: Withheld = "free"
    source: Source = "operator"
    note: str = ""
    withdrawn: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether it charges nothing, whatever was asked."""
        return self.markup_ppm is None and not (
            self.input or self.cached_input or self.output or self.reasoning or self.request
        )


class Tokens(NamedTuple):
    """What an answer used. ``cached`` are among ``prompt``, ``reasoning`` among ``output``;
    ``requests`` is 0 for all but the first choice of a request."""

    prompt: int
    cached: int
    output: int
    reasoning: int
    requests: int = 1


NOTHING = Tokens(0, 0, 0, 0, 0)


def price_from(
    price: Price, model: str, since: datetime = EPOCH, source: Source = "settings"
) -> PriceRow:
    """The row of a settings file's price. Raises ValueError for a number finer than a nano."""
    return PriceRow(
        since=since,
        model=model,
        currency=price.currency,
        markup_ppm=None if price.markup is None else scaled(price.markup, 6),
        withheld=price.withheld,
        source=source,
        input=scaled(price.input, 9),
        cached_input=scaled(price.input if price.cached_input is None else price.cached_input, 9),
        output=scaled(price.output, 9),
        reasoning=scaled(price.output if price.reasoning is None else price.reasoning, 9),
        request=scaled(price.request, 9),
    )


def charge(price: PriceRow, tokens: Tokens, cost: int = 0) -> int:
    """Nanos for ``tokens``, rounded once, halves to the even one. ``cost`` is what an upstream asks
    for the same answer, in nanos of the same currency."""
    prompt, cached, output, reasoning, requests = tokens
    millionths = (
        (prompt - cached) * price.input
        + cached * price.cached_input
        + (output - reasoning) * price.output
        + reasoning * price.reasoning
    )
    if price.request:
        millionths += MILLION * requests * price.request
    if price.markup_ppm is not None:
        millionths += cost * (MILLION + price.markup_ppm)
    return divide(millionths, MILLION)


def choose(
    price: PriceRow | None, tokens: Tokens, sent: int | None, withheld: bool
) -> tuple[Rule, Tokens]:
    """By which rule an answer is charged, and for which of its tokens.

    ``sent``: we broke it off when so many tokens had been sent; None: we did not. Whoever leaves
    pays for what was sampled until then; whoever is left gets what was sent at its price, and
    nothing else, not even the prompt, where nothing was sent.
    """
    if price is None:
        return "unpriced", NOTHING
    if withheld and price.withheld == "free":
        return "withheld", NOTHING
    if sent is None:
        return "sampled", tokens
    if sent == 0:
        return "sent", NOTHING
    output = min(sent, tokens.output)
    return "sent", tokens._replace(output=output, reasoning=min(tokens.reasoning, output))


def micros(at: datetime) -> int:
    """Microseconds since ``EPOCH``."""
    return (at - EPOCH) // _MICROSECOND
