"""Shares over time as an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from liveweights.adoption.own import Week
from liveweights.figures import save_figure

Measure = Literal["answer_share", "token_share"]


def draw_weeks(weeks: Sequence[Week], measure: Measure, target: Path) -> None:
    """Stacked shares, a band for each value; the ending of the name (svg, png, pdf) says which
    kind. Raises OSError, and ValueError for another ending."""
    from matplotlib.figure import Figure

    days = sorted({one.week for one in weeks})
    values = sorted({one.value for one in weeks})
    heights = {(one.week, one.value): float(getattr(one, measure)) for one in weeks}
    figure = Figure(figsize=(8, 4.5), constrained_layout=True)
    axes = figure.subplots()
    below = [0.0] * len(days)
    for value in values:
        shares = [heights.get((day, value), 0.0) for day in days]
        axes.bar([day.isoformat() for day in days], shares, bottom=below, label=value, width=0.8)
        below = [one + other for one, other in zip(below, shares, strict=True)]
    axes.set_ylim(0, 1)
    axes.set_ylabel(measure.replace("_", " "))
    axes.tick_params(axis="x", labelrotation=45)
    if values:
        axes.legend(fontsize=8)
    save_figure(figure, target)
