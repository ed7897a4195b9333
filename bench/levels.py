"""How often two models that are equally good are told apart, at a nominal 5%.

Two public submissions to SWE-bench Verified are swapped, by whole repositories or by instances, and
models are made up whose chances differ by group as chance will have it. They are told apart by
Student's t, clustered by group, alone, and as the scoreboard does it, which swaps groups, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np

from _report import arguments, finish, table

sys.path.append(str(Path(__file__).parents[1]))
from tests.scoreboard.draws import (
    INSTANCES,
    REPOSITORIES,
    SOLVED,
    Groups,
    Two,
    are_apart,
    make_groups,
    solve,
    swap_units,
)

Row = tuple[str, float, float]


def main() -> None:
    options = arguments(__doc__ or "", draws=(2000, "of each kind"))
    draws = range(20 if options.quick else options.draws)
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for name, units in (("repositories", REPOSITORIES), ("instances", INSTANCES)):
        pairs = list(combinations(SOLVED[:2] if options.quick else SOLVED, 2))
        rates = [
            rate((swap_units(rng, *pair, units) for _ in draws), REPOSITORIES) for pair in pairs
        ]
        for which, by_t, by_both in zip(
            ("median", "worst"), *np.quantile(rates, [0.5, 1], axis=0).T.tolist(), strict=True
        ):
            rows.append((f"{name} swapped, {which} of {len(pairs)} pairs", by_t, by_both))
    for count in (5, 12, 50, 500):
        for even in (True, False):
            groups = make_groups(count, even=even)
            share = np.bincount(groups).max() / len(groups)
            for taste, words in ((0.0, "all alike to both"), (1.0, "some suit one")):
                by_t, by_both = rate((solve(rng, groups, taste) for _ in draws), groups)
                rows.append((f"{count} groups, largest {share:.1%}, {words}", by_t, by_both))
    table("Told apart though equal, at 5%", ("kind", "Student's t", "and swapped groups"), rows)
    finish("levels", options, {name: rates for name, *rates in rows}, {})


def rate(draws: Iterable[Two], groups: Groups) -> tuple[float, float]:
    """By Student's t, and by both."""
    by_t, by_both = np.mean([are_apart(two, groups) for two in draws], axis=0)
    return float(by_t), float(by_both)


if __name__ == "__main__":
    main()
