from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.plots import (
    NAME,
    PLOT,
    ROW,
    TALL,
    Change,
    Interval,
    Path,
    draw_changes,
    draw_counts,
    draw_intervals,
    draw_paths,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
VALUES = st.floats(-1e6, 1e6)
INTERVALS = st.builds(
    lambda name, ends: Interval(name, ends[1], ends[0], ends[2]),
    NAMES,
    st.lists(VALUES, min_size=3, max_size=3).map(sorted),
)


def read(svg: str) -> ElementTree.Element:
    """As a browser would; whatever is drawn is in the picture."""
    tree = ElementTree.fromstring(svg)
    height = float(tree.get("height", ""))
    for mark in tree.iter():
        for name in ("x1", "x2", "cx"):
            if (value := mark.get(name)) is not None:
                assert NAME <= float(value) <= NAME + PLOT
        for name in ("y1", "y2", "cy"):
            if (value := mark.get(name)) is not None:
                assert 0 <= float(value) <= height
    return tree


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**9)), max_size=8), NAMES)
def test_a_larger_count_has_no_shorter_bar(counts: list[tuple[str, int]], label: str) -> None:
    tree = read(draw_counts(counts, label))
    assert tree.get("aria-label") == label
    widths = [float(bar.get("width", "")) for bar in tree.iter("rect")]
    assert all(0 <= width <= PLOT for width in widths)
    by_count = sorted(zip([count for _, count in counts], widths, strict=True))
    assert all(one[1] <= other[1] for one, other in pairwise(by_count))
    words = [text.text or "" for text in tree.iter("text")]
    assert words[::2] == [name for name, _ in counts]


@given(st.lists(INTERVALS, max_size=8))
def test_an_interval_is_on_its_side_of_zero(intervals: list[Interval]) -> None:
    tree = read(draw_intervals(intervals, "l"))
    zeros = [line for line in tree.iter("line") if line.get("class") == "zero"]
    reaches = [line for line in tree.iter("line") if line.get("class") != "zero"]
    assert len(zeros) == len(reaches) == len(intervals)
    for one, zero, reach in zip(intervals, zeros, reaches, strict=True):
        assert one.low is not None
        assert one.high is not None
        middle = float(zero.get("x1", ""))
        assert (float(reach.get("x1", "")) >= middle) or one.low <= 0
        assert (float(reach.get("x2", "")) <= middle) or one.high >= 0
        sides = {"good": one.low > 0, "bad": one.high < 0, "same": one.low <= 0 <= one.high}
        assert sides[reach.get("class", "")]


@given(st.lists(st.builds(Change, NAMES, VALUES, VALUES), max_size=8))
def test_a_change_goes_the_way_it_went(changes: list[Change]) -> None:
    tree = read(draw_changes(changes, "l"))
    lines = list(tree.iter("line"))
    assert len(lines) == len(changes)
    assert float(tree.get("height", "")) == max(1, len(changes)) * ROW
    for one, line in zip(changes, lines, strict=True):
        went = float(line.get("x2", "")) - float(line.get("x1", ""))
        assert went == 0 or (went > 0) == (one.after > one.before)


def test_without_an_interval_the_mean_is_drawn() -> None:
    tree = read(draw_intervals([Interval("<b>", 0.5, None, None)], "l"))
    assert [text.text for text in tree.iter("text")] == ["<b>", "+0.5000"]
    assert len(list(tree.iter("circle"))) == 1


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30), VALUES)
def test_what_reaches_the_bound_is_drawn_on_it(
    values: list[tuple[float, float]], bound: float
) -> None:
    ours, theirs = zip(*values, strict=True)
    tree = ElementTree.fromstring(draw_paths([Path("a", ours), Path("b", theirs)], bound, "l"))
    line = float(
        next(one for one in tree.iter("line") if one.get("class") == "bound").get("y1", "")
    )
    lines = list(tree.iter("polyline"))
    for path, drawn in zip((ours, theirs), lines, strict=True):
        points = [tuple(map(float, point.split(","))) for point in drawn.get("points", "").split()]
        assert len(points) == len(path)
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        for value, (_, y) in zip(path, points, strict=True):
            assert 0 <= y <= TALL
            assert y <= line if value >= bound else y >= line
