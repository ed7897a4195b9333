from __future__ import annotations

import datetime
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.adoption.relative import (
    Relative,
    Tracked,
    downloads_until,
    list_relative,
    size_class,
)
from liveweights.adoption.snapshots import Snapshot

START = datetime.date(2026, 1, 1)
DAY = datetime.timedelta(days=1)


def snapshot(model: str, day: int, downloads: int, source: str = "hub") -> Snapshot:
    return Snapshot(model=model, day=START + day * DAY, downloads=downloads, source=source)


def tracked(model: str, parameters: int = 7 * 10**9, released: int = 0) -> Tracked:
    return Tracked(model, START + released * DAY, parameters)


@pytest.mark.parametrize(
    ("billions", "name"),
    [(0.5, "<1B"), (1, "1-5B"), (4.9, "1-5B"), (5, "7-9B"), (9, "7-9B"), (10, "10-50B"),
     (70, "50-100B"), (120, "100-250B"), (250, "250B+"), (2400, "250B+")],
)  # fmt: skip
def test_classes_are_the_published_ones(billions: float, name: str) -> None:
    assert size_class(int(billions * 10**9)) == name


def test_the_score_is_over_the_median_of_the_ten_most_downloaded_of_the_class() -> None:
    # Twelve of one class: the two with the fewest downloads are not among the ten.
    models = [tracked(f"m/{n}") for n in range(12)] + [tracked("big/one", 10**12)]
    series = [snapshot(f"m/{n}", 7, 100 * (n + 1)) for n in range(12)]
    series += [snapshot("big/one", 7, 5)]
    rows = {one.model: one for one in list_relative(models, series, days=(7,))}
    middle = median(100 * (n + 1) for n in range(2, 12))
    assert rows["m/11"].median == middle == 750
    assert rows["m/11"].score == 1200 / 750
    assert rows["m/0"].score == 100 / 750
    assert rows["m/11"].compared == 10
    assert rows["big/one"].score == 1
    assert rows["big/one"].size == "250B+"


def test_what_is_not_known_of_a_day_is_left_out() -> None:
    models = [tracked("a/old"), tracked("b/new", released=20), tracked("c/none")]
    series = [snapshot("a/old", 10, 1000), snapshot("a/old", 40, 4000), snapshot("b/new", 30, 50)]
    rows = {(one.model, one.day): one for one in list_relative(models, series, days=(7, 14, 30))}
    assert set(rows) == {("a/old", 7), ("a/old", 14), ("a/old", 30), ("b/new", 7)}
    assert rows["a/old", 7].downloads == 700  # on the way from none to 1000
    assert rows["a/old", 14].downloads == 1400
    assert rows["a/old", 30].downloads == 3000
    assert rows["b/new", 7].downloads == 35
    assert rows["b/new", 7].median == median([700, 35])
    assert rows["b/new", 7].sources == ("hub",)


def test_of_two_sources_the_larger_count_of_a_day_stands() -> None:
    series = [snapshot("a/b", 7, 10, "one"), snapshot("a/b", 7, 30, "two")]
    (row,) = list_relative([tracked("a/b")], series, days=(7,))
    assert row.downloads == 30
    assert row.sources == ("two",)


def test_without_downloads_there_is_no_score() -> None:
    assert list_relative([tracked("a/b")], [snapshot("a/b", 7, 0)], days=(7,)) == ()
    assert list_relative([tracked("a/b")], [], days=(7,)) == ()


points = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 10**6)),
    min_size=1,
    max_size=20,
    unique_by=lambda one: one[0],
)


@given(points, st.integers(-5, 410))
def test_between_two_days_downloads_lie_between(given_: list[tuple[int, int]], day: int) -> None:
    series = [snapshot("a/b", *one) for one in sorted(given_)]
    value = downloads_until(series, START + day * DAY)
    known = dict(given_)
    if day in known:
        assert value == known[day]
    elif day < min(known) or day > max(known):
        assert value is None
    else:
        before = known[max(one for one in known if one < day)]
        after = known[min(one for one in known if one > day)]
        assert value is not None
        assert min(before, after) <= value <= max(before, after)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=10))
def test_half_of_the_ten_are_at_or_above_one(downloads: list[int]) -> None:
    models = [tracked(f"m/{n}") for n in range(len(downloads))]
    series = [snapshot(f"m/{n}", 7, count) for n, count in enumerate(downloads)]
    rows: tuple[Relative, ...] = list_relative(models, series, days=(7,))
    assert sum(one.score >= 1 for one in rows) >= len(downloads) / 2
