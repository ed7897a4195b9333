from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.insight.window import STEPS, WindowError, make_window, parse_time

NOW = datetime(2026, 3, 31, 12, 34, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
        ("now", NOW),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "7", "-1d", "7d ago"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(WindowError, match="7d"):
        parse_time(text, NOW)


@pytest.mark.parametrize(
    "text",
    [
        *("999999w", "999999d", "0001-01-01", "9999-12-31", "0001-01-01T00:00+23:59"),
        *("9999-12-31T23:59-23:59", "1969-12-31T23:59:59", "2200-01-01T00:00:01"),
    ],
)
def test_what_is_beyond_all_data_is_told(text: str) -> None:
    with pytest.raises(WindowError, match="1970 to 2200"):
        parse_time(text, NOW)


def test_a_zone_that_postgres_has_not_is_only_a_way_to_write_a_time() -> None:
    assert parse_time("2026-03-01T23:00+23:00", NOW) == datetime(2026, 3, 1, tzinfo=UTC)
    assert parse_time("2026-03-01T23:00+23:00", NOW).tzinfo is UTC


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_told(text: str) -> None:
    with suppress(WindowError):
        window = make_window(text, "2026-03-31", now=NOW)
        assert window.since < window.until


def test_an_empty_window_and_an_unknown_step_are_told() -> None:
    with pytest.raises(WindowError, match="empty"):
        make_window("1h", "2h", now=NOW)
    with pytest.raises(WindowError, match="5m, 1h, 1d"):
        make_window(step="2h", now=NOW)
    with pytest.raises(WindowError, match=r"empty.* in buckets of 1440 minutes"):
        make_window("30h", "26h", "1d", now=NOW)


@given(minutes=st.integers(1, 500_000), step=st.sampled_from([None, *STEPS]))
def test_a_window_begins_on_a_buckets_edge(minutes: int, step: str | None) -> None:
    window = make_window(f"{minutes}m", step=step, now=NOW)
    asked = NOW - timedelta(minutes=minutes)
    assert window.since.timestamp() % (60 * window.width) == 0
    assert asked - timedelta(minutes=window.width) < window.since <= asked
    if step is None:
        assert (window.until - window.since) / timedelta(minutes=window.width) <= 370


@given(
    minutes=st.tuples(*[st.integers(1, 500_000)] * 3),
    step=st.sampled_from([None, *STEPS]),
    sum=st.booleans(),
)
def test_windows_that_adjoin_share_no_bucket(
    minutes: tuple[int, int, int], step: str | None, sum: bool
) -> None:
    first, between, last = (f"{n}m" for n in sorted(minutes, reverse=True))
    with suppress(WindowError):  # nothing is in between, in whole buckets
        before = make_window(first, between, step, sum=sum, now=NOW)
        after = make_window(between, last, step, sum=sum, now=NOW)
        if before.until == NOW:
            return  # what goes on now is told until now
        assert before.until.timestamp() % (60 * before.width) == 0
        if before.width == after.width:
            assert before.until == after.since


def test_what_goes_on_now_is_in_a_window_until_now() -> None:
    for until in ("now", "2026-03-31T12:34:56", "2026-04-01T07:00"):
        window = make_window("7d", until, "1d", now=NOW)
        assert window.until == parse_time(until, NOW)
    assert make_window("7d", "1m", "1d", now=NOW).until == NOW
    assert make_window("30d", "1h", sum=True, now=NOW).until == NOW
    assert make_window("7d", "24h", "1d", now=NOW).until == datetime(2026, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "width"),
    [
        ("2026-03-01", "2026-04-01", 1440),
        ("2026-03-01T00:00+09:00", "2026-04-01T00:00+09:00", 60),
        ("2026-03-01T00:00+05:30", "2026-04-01T00:00+05:30", 5),
        ("2026-03-01T00:00-03:30", "2026-04-01T00:00-02:30", 5),
        ("2026-03-01", "now", 1440),
        ("30d", "now", 1440),
    ],
)
def test_a_sum_is_over_exactly_what_was_asked_for(since: str, until: str, width: int) -> None:
    now = datetime(2026, 4, 20, 12, 3, tzinfo=UTC)
    window = make_window(since, until, sum=True, now=now)
    assert window.width == width
    if since != "30d":
        assert (window.since, window.until) == (parse_time(since, now), parse_time(until, now))
    assert make_window(since, until, now=now).width == 1440
