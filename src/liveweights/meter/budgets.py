"""How much money may be spent, and within which time."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

Period = Literal["day", "week", "month", "all"]
PERIODS: tuple[Period, ...] = get_args(Period)
NANOS = 1_000_000_000
"""Of one unit of a currency: money is counted in whole billionths."""
MOST_NANOS = 10**18
"""A billion units of a currency: far within what Postgres holds as a ``bigint``."""
_AMOUNT = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,9})?")
Nanos = Annotated[int, Meta(ge=0, le=MOST_NANOS)]


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``nanos`` are billionths of the tenant's currency. ``period``: a day, a week from Monday on
    or a month of the tenant's calendar, or for ever."""

    period: Period
    nanos: Nanos


Budgets = Annotated[tuple[Budget, ...], Meta(max_length=len(PERIODS))]


def check_budgets(budgets: tuple[Budget, ...]) -> None:
    """Raises ValueError where a period has two."""
    periods = [budget.period for budget in budgets]
    if len(set(periods)) < len(periods):
        twice = next(period for period in periods if periods.count(period) > 1)
        raise ValueError(f"there are two budgets for the period {twice!r}; one is enough")


def parse_money(text: str) -> int:
    """Billionths of a currency, of an amount such as ``12.50``. Raises ValueError for what is no
    amount, is finer than a billionth, or beyond a billion."""
    if not _AMOUNT.fullmatch(text):
        raise ValueError(
            f"{text[:50]!r} is no amount of money: write it as 12.50, with at most 9 decimals"
        )
    nanos = int(Decimal(text).scaleb(9))
    if abs(nanos) > MOST_NANOS:
        raise ValueError(f"{text[:50]!r} is more than a billion")
    return nanos


def show_money(nanos: int) -> str:
    """Exactly, with two decimals at least: ``12.50``."""
    sign, whole = ("-" if nanos < 0 else ""), abs(nanos)
    decimals = f"{whole % NANOS:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole // NANOS}.{decimals}"
