"""Revenue in several currencies: amounts of one are never added to those of another. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from liveweights.meter.money import NANOS

Amounts = dict[str, float]
"""By currency, in its units, or as shares."""
Nanos = dict[str, int]
"""By currency, in billionths of its units."""


def add(sums: Nanos, more: Mapping[str, int]) -> None:
    """Into ``sums``."""
    for currency, nanos in more.items():
        sums[currency] = sums.get(currency, 0) + nanos


def in_units(nanos: Mapping[str, int]) -> Amounts:
    """In order of the currencies; none of which there is nothing."""
    return {one: nanos[one] / NANOS for one in sorted(nanos) if nanos[one]}


def shares_of(part: Mapping[str, int], whole: Mapping[str, int]) -> Amounts:
    """What ``part`` has of each currency that the ``whole`` has anything of."""
    return {one: part.get(one, 0) / whole[one] for one in sorted(whole) if whole[one]}


def tell(amounts: Mapping[str, float]) -> str:
    """``1,000.00 EUR, 3.50 USD``."""
    return ", ".join(f"{amount:,.2f} {one}" for one, amount in amounts.items()) or "none"


def tell_shares(shares: Mapping[str, float]) -> str:
    """``50.0% of EUR``; without a name where there is one currency."""
    if len(shares) == 1:
        return f"{next(iter(shares.values())):.1%}"
    return ", ".join(f"{share:.1%} of {one}" for one, share in shares.items()) or "none"
