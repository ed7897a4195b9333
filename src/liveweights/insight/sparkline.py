"""A row of numbers as a row of bars."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int = 48) -> str:
    """At most ``width`` bars between the least and the greatest value; a blank where there is none.

    More values than bars are averaged in neighbouring groups of equal size, up to one.
    """
    groups = min(width, len(values))
    means: list[float | None] = []
    for group in range(groups):
        start, end = group * len(values) // groups, (group + 1) * len(values) // groups
        known = [value for value in values[start:end] if value is not None]
        means.append(sum(known) / len(known) if known else None)
    seen = [mean for mean in means if mean is not None]
    if not seen:
        return " " * groups
    low, span = min(seen), max(seen) - min(seen)
    top = len(BARS) - 1
    return "".join(
        " " if mean is None else BARS[round((mean - low) / span * top) if span else top // 2]
        for mean in means
    )
