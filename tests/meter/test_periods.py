from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.budgets import PERIODS
from liveweights.meter.periods import EVER, Window, find_window

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"),
    *("America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "America/St_Johns", "Africa/Cairo"),
    *("America/Havana", "Pacific/Kiritimati", "Asia/Tehran", "America/Scoresbysund"),
)
"""Some put their clocks forward or back at midnight; Apia left out a whole day."""
times = st.datetimes(datetime(2000, 1, 1), datetime(2037, 12, 1), timezones=st.just(UTC))


@given(st.sampled_from(ZONES), st.sampled_from([p for p in PERIODS if p != "all"]), times)
def test_windows_follow_each_other_without_a_gap(zone: str, period: str, now: datetime) -> None:
    where = ZoneInfo(zone)
    window = find_window(period, where, now)  # type: ignore[arg-type]
    assert window.ends is not None
    assert window.begins <= now < window.ends
    # Whoever looks at any other time within it finds the same one, and right after it the next.
    for inside in (window.begins, window.ends - timedelta(microseconds=1)):
        assert find_window(period, where, inside) == window  # type: ignore[arg-type]
    assert find_window(period, where, window.ends).begins == window.ends  # type: ignore[arg-type]
    shortest, longest = {"day": (22, 50), "week": (6 * 24, 8 * 24), "month": (27 * 24, 32 * 24)}[
        period
    ]
    hours = (window.ends - window.begins) / timedelta(hours=1)
    assert shortest <= hours <= longest


@given(st.sampled_from(ZONES), times)
def test_they_begin_when_the_clock_first_shows_midnight(zone: str, now: datetime) -> None:
    """Or the first time after it that it shows, where it is put forward over it."""
    where = ZoneInfo(zone)
    for period in ("day", "week", "month"):
        begins = find_window(period, where, now).begins
        shown = begins.astimezone(where)
        before = (begins - timedelta(seconds=1)).astimezone(where)
        assert shown.date() > before.date()
        assert (shown.hour, shown.minute) == (0, 0) or shown.utcoffset() != before.utcoffset()
        if period == "month":
            assert before.month != shown.month
        if period == "week":
            assert before.weekday() > shown.weekday()


@pytest.mark.parametrize(
    ("zone", "period", "now", "begins", "ends"),
    [
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Europe/Berlin", "month", "2026-10-31T22:59", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("Europe/Berlin", "month", "2026-10-31T23:00", "2026-10-31T23:00", "2026-11-30T23:00"),
        ("Europe/Berlin", "week", "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        # At midnight the clock was put forward to one o'clock.
        ("America/Sao_Paulo", "day", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),
        # At one minute past midnight it was put back to the day before.
        ("America/St_Johns", "day", "2010-11-07T03:00", "2010-11-07T02:30", "2010-11-08T03:30"),
        # There was no 30 December.
        ("Pacific/Apia", "day", "2011-12-30T12:00", "2011-12-30T10:00", "2011-12-31T10:00"),
        ("UTC", "month", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("UTC", "day", "2026-12-31T23:59", "2026-12-31T00:00", "2027-01-01T00:00"),
    ],
)
def test_days_are_those_of_the_place(
    zone: str, period: str, now: str, begins: str, ends: str
) -> None:
    expected = Window(*(datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (begins, ends)))
    when = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert find_window(period, ZoneInfo(zone), when) == expected  # type: ignore[arg-type]


def test_what_is_for_ever_has_no_end() -> None:
    assert find_window("all", ZoneInfo("UTC"), datetime.now(UTC)) == Window(EVER, None)
