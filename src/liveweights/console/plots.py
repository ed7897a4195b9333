"""Plots of a cycle as SVG: counts, intervals beside zero, and what was so before and after. Pure.

Each is a row per thing, with its name on the left and its figure on the right; every word is
escaped. Nothing but ``class`` says how it looks: pages take no styles from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

NAME, PLOT, FIGURE, ROW = 190, 300, 150, 26
"""Pixels: of a name, of the plot beside it, of the figure behind that, and height of a row."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference with both ends of its interval, which are None where there is none."""

    name: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """What was ``before`` and is ``after``."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Path:
    """Values one after the other, drawn as ``kind``."""

    kind: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value of ``low`` to ``high`` is, in pixels from the left."""

    low: float
    high: float

    def place(self, value: float) -> float:
        reach = self.high - self.low
        share = 0.5 if reach <= 0 else (value - self.low) / reach
        return round(NAME + PLOT * min(1.0, max(0.0, share)), 1)


def draw_counts(counts: Sequence[tuple[str, int]], label: str) -> Markup:
    """A bar for each count."""
    scale = Scale(0, max((count for _, count in counts), default=0) or 1)
    rows = [
        _row(
            place,
            name,
            f"{count:,}",
            Markup('<rect x="{}" y="{}" width="{}" height="12"/>').format(
                NAME, place * ROW + 7, round(scale.place(count) - NAME, 1)
            ),
        )
        for place, (name, count) in enumerate(counts)
    ]
    return _svg(rows, label)


def draw_intervals(intervals: Sequence[Interval], label: str) -> Markup:
    """Each around zero, to one scale of its own: what they measure differs."""
    rows: list[Markup] = []
    for place, one in enumerate(intervals):
        ends = [end for end in (one.low, one.high) if end is not None]
        reach = 1.1 * max(abs(value) for value in (one.mean, *ends)) or 1.0
        scale, y = Scale(-reach, reach), place * ROW + ROW // 2
        zero = _line("zero", scale.place(0), y - 9, scale.place(0), y + 9)
        mark = Markup('<circle cx="{}" cy="{}" r="4"/>').format(scale.place(one.mean), y)
        figure = f"{one.mean:+.4f}"
        if one.low is not None and one.high is not None:
            zero += _line(_side_of(one), scale.place(one.low), y, scale.place(one.high), y)
            figure = f"{one.low:+.3f} to {one.high:+.3f}"
        rows.append(_row(place, one.name, figure, zero + mark))
    return _svg(rows, label)


def draw_changes(changes: Sequence[Change], label: str) -> Markup:
    """Each from where it was to where it is, on one scale."""
    values = [value for one in changes for value in (one.before, one.after)]
    scale = Scale(min(values, default=0.0), max(values, default=0.0))
    rows: list[Markup] = []
    for place, one in enumerate(changes):
        y = place * ROW + ROW // 2
        kind = "good" if one.after > one.before else "bad" if one.after < one.before else "same"
        drawn = _line(kind, scale.place(one.before), y, scale.place(one.after), y)
        drawn += Markup('<circle cx="{}" cy="{}" r="4" class="{}"/>').format(
            scale.place(one.after), y, kind
        )
        rows.append(_row(place, one.name, f"{one.before:.2f} to {one.after:.2f}", drawn))
    return _svg(rows, label)


TALL = 160
"""Pixels: height of paths."""


def draw_paths(paths: Sequence[Path], bound: float, label: str) -> Markup:
    """Paths of equally many values side by side, and the ``bound`` that one of them may reach."""
    values = [bound, 0.0, *(value for path in paths for value in path.values)]
    low, high = min(values), max(values)
    longest = max((len(path.values) for path in paths), default=0)
    width, across = NAME + PLOT + FIGURE, Scale(0, max(1, longest - 1))

    def down(value: float) -> float:
        return round(TALL - 8 - (TALL - 16) * (value - low) / ((high - low) or 1.0), 1)

    def along(place: int) -> float:
        return round((across.place(place) - NAME) / PLOT * width, 1)

    drawn = [
        _line("zero", 0, down(0.0), width, down(0.0)),
        _line("bound", 0, down(bound), width, down(bound)),
    ]
    for path in paths:
        points = " ".join(
            f"{along(place)},{down(value)}" for place, value in enumerate(path.values)
        )
        drawn.append(Markup('<polyline class="{}" points="{}"/>').format(path.kind, points))
    return _frame(drawn, label, width, TALL)


def _side_of(one: Interval) -> str:
    assert one.low is not None
    assert one.high is not None
    return "good" if one.low > 0 else "bad" if one.high < 0 else "same"


def _line(kind: str, x: float, y: float, to: float, end: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x, y, to, end)


def _row(place: int, name: str, figure: str, drawn: Markup) -> Markup:
    y = place * ROW + 18
    words = Markup('<text x="0" y="{}">{}</text>').format(y, name)
    said = Markup('<text class="note" x="{}" y="{}">{}</text>').format(NAME + PLOT + 12, y, figure)
    return words + drawn + said


def _svg(rows: Sequence[Markup], label: str) -> Markup:
    return _frame(rows, label, NAME + PLOT + FIGURE, max(1, len(rows)) * ROW)


def _frame(parts: Sequence[Markup], label: str, width: int, height: int) -> Markup:
    head = Markup(
        '<svg class="chart" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img"'
        ' aria-label="{2}">'
    ).format(width, height, label)
    return Markup("\n").join([head, *parts, Markup("</svg>")])
