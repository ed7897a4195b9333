"""The picture of a run: accept rate, share shown and mean reward by checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from liveweights.replay.comparison import Estimate, Score, clustered_mean, rewards_of, wilson
from liveweights.replay.settings import Rewards
from liveweights.replay.traffic import Counts

_TRAFFIC, _FILES, _PACKAGES = "#5b6b7b", "#0b7a75", "#d1603d"


@dataclass(frozen=True, slots=True)
class Column:
    """One checkpoint on the horizontal axis; what was not measured is None."""

    label: str
    traffic: Counts | None = None
    files: Score | None = None
    packages: Score | None = None


def draw(path: Path, columns: Sequence[Column], rewards: Rewards, caption: str = "") -> None:
    """Write the PNG; ``columns`` in order of release."""
    figure, axes = plt.subplots(
        3, 1, figsize=(1.6 * max(5, len(columns)) + 1, 9), sharex=True, constrained_layout=True
    )
    try:
        panels: list[Axes] = list(axes)
        _panel(
            panels[0],
            "accepted / shown",
            traffic=[_estimate(c.traffic, "rate", rewards) for c in columns],
            files=[c.files.accept_rate if c.files else None for c in columns],
            packages=[c.packages.accept_rate if c.packages else None for c in columns],
        )
        _panel(
            panels[1],
            "shown / asked",
            traffic=[_estimate(c.traffic, "shown", rewards) for c in columns],
            files=[wilson(c.files.shown, c.files.positions) if c.files else None for c in columns],
            packages=[
                wilson(c.packages.shown, c.packages.positions) if c.packages else None
                for c in columns
            ],
        )
        _panel(
            panels[2],
            "mean reward",
            traffic=[_estimate(c.traffic, "reward", rewards) for c in columns],
            files=[c.files.reward if c.files else None for c in columns],
            packages=[c.packages.reward if c.packages else None for c in columns],
        )
        for panel in panels[:2]:
            panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[2].axhline(0, color="#999999", linewidth=0.8, zorder=0)
        panels[0].legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=3, frameon=False, fontsize=9
        )
        panels[2].set_xticks(range(len(columns)), [column.label for column in columns])
        panels[2].set_xlabel(f"checkpoint\n{caption}" if caption else "checkpoint", fontsize=9)
        figure.suptitle("Suggestions by checkpoint, with 95% intervals")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    finally:
        plt.close(figure)


def _panel(
    panel: Axes,
    title: str,
    *,
    traffic: Sequence[Estimate | None],
    files: Sequence[Estimate | None],
    packages: Sequence[Estimate | None],
) -> None:
    panel.set_ylabel(title)
    panel.grid(axis="y", color="#dddddd", linewidth=0.7)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.08)
    for shift, estimates, colour, marker, label in (
        (-0.12, traffic, _TRAFFIC, "o", "live traffic"),
        (0.0, files, _FILES, "s", "held-out files"),
        (0.12, packages, _PACKAGES, "D", "held-out packages"),
    ):
        points = [
            (number + shift, estimate)
            for number, estimate in enumerate(estimates)
            if estimate is not None and math.isfinite(estimate.mean)
        ]
        if not points:
            continue
        xs, shown = [x for x, _ in points], [estimate for _, estimate in points]
        panel.errorbar(
            xs,
            [estimate.mean for estimate in shown],
            yerr=(
                [_arm(estimate.mean, estimate.low) for estimate in shown],
                [_arm(estimate.high, estimate.mean) for estimate in shown],
            ),
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=1.2,
            capsize=3,
            label=label,
        )


def _arm(high: float, low: float) -> float:
    """Length of an error bar; an unknown bound has none."""
    return max(0.0, high - low) if math.isfinite(high - low) else 0.0


def _estimate(counts: Counts | None, figure: str, rewards: Rewards) -> Estimate | None:
    """A figure of live traffic, its requests taken as independent."""
    if counts is None or not counts.asked:
        return None
    if figure == "rate":
        return wilson(counts.accepted, counts.shown)
    if figure == "shown":
        return wilson(counts.shown, counts.asked)
    values = [
        *rewards_of(["accepted"], rewards) * counts.accepted,
        *rewards_of(["rejected"], rewards) * counts.rejected,
        *rewards_of(["silence"], rewards) * counts.silence,
    ]
    return clustered_mean(values, [str(number) for number in range(len(values))])
