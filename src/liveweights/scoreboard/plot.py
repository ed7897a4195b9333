"""Scores with their intervals as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from liveweights.figures import save_figure
from liveweights.scoreboard.table import Table


def draw_tables(tables: Sequence[Table], target: Path) -> None:
    """A panel for each suite that has a ranking: scores, intervals and the letters of ties; the
    ending of the name (svg, png, pdf) says which kind. Raises OSError, and ValueError for another
    ending or where nothing is ranked."""
    from matplotlib.figure import Figure

    ranked = [(table, table.ranking) for table in tables if table.ranking]
    if not ranked:
        raise ValueError("nothing is ranked yet: no run is whole")
    heights = [len(ranking.places) + 1 for _, ranking in ranked]
    figure = Figure(figsize=(7.5, 0.4 * sum(heights) + 0.4), constrained_layout=True)
    panels = figure.subplots(len(ranked), squeeze=False, height_ratios=heights, sharex=True)
    for (table, ranking), (axes,) in zip(ranked, panels, strict=True):
        places = ranking.places[::-1]
        lines = range(len(places))
        scores = [place.score for place in places]
        below = [place.score - place.low for place in places]
        above = [place.high - place.score for place in places]
        axes.errorbar(scores, lines, xerr=(below, above), fmt="o", capsize=3)
        axes.set_yticks(lines, [f"{place.model} ({place.tied})" for place in places])
        axes.set_ylim(-0.6, len(places) - 0.4)
        axes.set_xlim(0, 1)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(f"{table.conditions.suite}, {ranking.cases} cases", fontsize=9, loc="left")
    panels[-1][0].set_xlabel("mean score; models that share a letter are not told apart")
    save_figure(figure, target)
