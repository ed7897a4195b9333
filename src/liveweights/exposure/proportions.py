"""Intervals of shares, and of the difference between two."""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec

CONFIDENCE = 0.95


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A share with its interval; ``count`` is of how many."""

    value: float
    low: float
    high: float
    count: int


def rate_of(taken: int, count: int, confidence: float = CONFIDENCE) -> Rate | None:
    """Wilson's interval (Wilson 1927, JASA 22, 209); None without any. Takes the cases for
    independent of one another."""
    if not count:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = taken / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count)
    reach *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return Rate(
        value=share,
        low=max(0.0, min(share, middle - reach)),  # rounding must not put it on the other side
        high=min(1.0, max(share, middle + reach)),
        count=count,
    )


def difference_of(one: Rate, other: Rate) -> Rate:
    """``one`` minus ``other`` (Newcombe 1998, Statistics in Medicine 17, 873, method 10); its count
    is the smaller one."""
    value = one.value - other.value
    return Rate(
        value=value,
        low=value - math.hypot(one.value - one.low, other.high - other.value),
        high=value + math.hypot(one.high - one.value, other.value - other.low),
        count=min(one.count, other.count),
    )
