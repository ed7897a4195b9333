"""How much money may be spent, and within which time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from liveweights.meter.money import MOST_NANOS, show_money

Period = Literal["day", "week", "month", "all"]
PERIODS: tuple[Period, ...] = get_args(Period)
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


def show_budgets(budgets: Sequence[Budget]) -> str:
    """In words; empty for none."""
    return ", ".join(f"{budget.period}={show_money(budget.nanos)}" for budget in budgets)
