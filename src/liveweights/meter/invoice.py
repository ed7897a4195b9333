"""Invoices: a fold over what the ledger says of one tenant and month. Pure.

Each line is rounded to the smallest amount that its currency is paid in, halves to the even one;
the net amount is the sum of the rounded lines. A levy is rounded in the same way, from the rounded
lines that it is about. ``nanos`` keep the exact amounts: over all invoices of a tenant they add up
to what the ledger says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from liveweights.meter.levies import Levy
from liveweights.meter.money import NO_CURRENCY, divide, to_minor
from liveweights.meter.prices import MILLION, PriceRow

_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """What charges that are alike add up to: of one model, price and rule. ``reversal``: they take
    back what was charged before."""

    model: str
    origin: str
    licence: str
    currency: str
    price: int | None
    rule: str
    reversal: bool
    answers: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    nanos: int


class UnitPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Nanos per million tokens, and per request; of a markup millionths."""

    id: int
    input: int
    cached_input: int
    output: int
    reasoning: int
    request: int
    markup_ppm: int | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """``amount`` is in the currency's smallest amounts, ``nanos`` exact."""

    model: str
    kind: Literal["usage", "correction"]
    rule: str
    price: UnitPrice | None
    answers: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    nanos: int
    amount: int


class LevyLine(msgspec.Struct, frozen=True, kw_only=True):
    """``base`` is what the lines that it is about add up to. ``added``: it is part of the total."""

    name: str
    rule: str
    rate_ppm: int
    base: int
    amount: int
    added: bool


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed in one currency, in its smallest amounts: ``total`` is ``net`` and all levies
    that are added."""

    currency: str
    lines: tuple[Line, ...]
    levies: tuple[LevyLine, ...]
    net: int
    net_nanos: int
    total: int


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """A month of one tenant: from ``since`` to before ``until``, and what was booked late for
    months that were closed before. ``number`` and ``closed_at``: None while it is not closed."""

    number: int | None
    tenant: str
    month: str
    time_zone: str
    since: datetime
    until: datetime
    closed_at: datetime | None
    seller: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the calendar in a time zone; ``first`` is its first day."""

    first: date
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo) -> Month:
        """Of ``2026-10``. Raises ValueError."""
        match = _MONTH.fullmatch(text)
        if match is None or not (1 <= int(match[2]) <= 12 and 1970 <= int(match[1]) <= 2199):
            raise ValueError(f"{text[:50]!r} is no month: write it as 2026-10")
        return cls(date(int(match[1]), int(match[2]), 1), zone)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def next(self) -> Month:
        year, month = divmod(self.first.year * 12 + self.first.month, 12)
        return Month(date(year, month + 1, 1), self.zone)

    @property
    def before(self) -> Month:
        return Month((self.first - timedelta(days=1)).replace(day=1), self.zone)

    @property
    def since(self) -> datetime:
        """The instant at which it begins."""
        return datetime(self.first.year, self.first.month, 1, tzinfo=self.zone).astimezone(UTC)

    @property
    def until(self) -> datetime:
        return self.next.since


@dataclass(frozen=True, slots=True)
class Key:
    """What one line is about."""

    model: str
    reversal: bool
    rule: str
    price: int | None


def make_statements(
    charges: Iterable[Charges],
    prices: Mapping[int, PriceRow],
    levies: Sequence[Levy] = (),
    *,
    tenant: str = "",
    month: date = date.min,
) -> tuple[Statement, ...]:
    """One for each currency, in their order; what has no price is on none."""
    currencies: dict[str, dict[Key, Charges]] = {}
    for one in charges:
        if one.currency == NO_CURRENCY:
            continue
        key = Key(one.model, one.reversal, one.rule, one.price)
        sums = currencies.setdefault(one.currency, {})
        sums[key] = _add(sums[key], one) if key in sums else one
    due = [levy for levy in levies if levy.is_due(tenant, month)]
    return tuple(
        _statement(currency, sums, prices, due) for currency, sums in sorted(currencies.items())
    )


def _add(one: Charges, other: Charges) -> Charges:
    names = ("answers", "requests", "nanos", "prompt_tokens", "cached_tokens")
    return replace(
        one,
        **{
            name: getattr(one, name) + getattr(other, name)
            for name in (*names, "output_tokens", "reasoning_tokens")
        },
    )


def _statement(
    currency: str, sums: Mapping[Key, Charges], prices: Mapping[int, PriceRow], due: Sequence[Levy]
) -> Statement:
    ordered = [sums[key] for key in sorted(sums, key=_order)]
    lines = tuple(_line(one, prices) for one in ordered)
    net = sum(line.amount for line in lines)
    levied: list[LevyLine] = []
    for levy in due:
        about = [
            line.amount
            for line, one in zip(lines, ordered, strict=True)
            if levy.is_about(one.model, one.origin, one.licence)
        ]
        if about:
            levied.append(
                LevyLine(
                    name=levy.name,
                    rule=levy.rule,
                    rate_ppm=levy.ppm,
                    base=sum(about),
                    amount=divide(sum(about) * levy.ppm, MILLION),
                    added=levy.added,
                )
            )
    return Statement(
        currency=currency,
        lines=lines,
        levies=tuple(levied),
        net=net,
        net_nanos=sum(line.nanos for line in lines),
        total=net + sum(levy.amount for levy in levied if levy.added),
    )


def _order(key: Key) -> tuple[str, bool, int, str]:
    return key.model, key.reversal, key.price or 0, key.rule


def _line(one: Charges, prices: Mapping[int, PriceRow]) -> Line:
    return Line(
        model=one.model,
        kind="correction" if one.reversal else "usage",
        rule=one.rule,
        price=None if one.price is None else _unit_price(prices[one.price]),
        answers=one.answers,
        requests=one.requests,
        prompt_tokens=one.prompt_tokens,
        cached_tokens=one.cached_tokens,
        output_tokens=one.output_tokens,
        reasoning_tokens=one.reasoning_tokens,
        nanos=one.nanos,
        amount=to_minor(one.nanos, one.currency),
    )


def _unit_price(price: PriceRow) -> UnitPrice:
    return UnitPrice(
        id=price.id,
        input=price.input,
        cached_input=price.cached_input,
        output=price.output,
        reasoning=price.reasoning,
        request=price.request,
        markup_ppm=price.markup_ppm,
    )
