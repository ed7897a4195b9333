"""When the days, weeks and months of a tenant's own calendar begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from liveweights.meter.budgets import Period

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When what has no beginning begins."""


@dataclass(frozen=True, slots=True)
class Window:
    """From ``begins`` to before ``ends`` (UTC); ``ends`` of None: for ever."""

    begins: datetime
    ends: datetime | None


def find_window(period: Period, zone: tzinfo, now: datetime) -> Window:
    """The one that ``now`` is in.

    Windows follow each other without a gap, whatever the clocks do: a day begins when the clock
    shows midnight for the first time, or where it is put forward over midnight, when that is done.
    So a day has 23 hours in spring, 25 in autumn. Weeks begin on Monday.
    """
    if period == "all":
        return Window(EVER, None)
    today = _first(period, now.astimezone(zone).date())
    # Where the clock is put back over midnight, the day that it shows is not the one that began.
    for day in (_next(period, today), today, _before(period, today)):
        begins = _midnight(day, zone)
        if begins <= now:
            return Window(begins, _midnight(_next(period, day), zone))
    raise AssertionError("a day begins before it ends")


def _first(period: Period, day: date) -> date:
    """The first day of the window that has ``day``."""
    if period == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if period == "week" else day


def _next(period: Period, day: date) -> date:
    """Of a window's first day, the next one's."""
    if period == "month":
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if period == "week" else 1)


def _before(period: Period, day: date) -> date:
    return _first(period, day - timedelta(days=1))


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
