"""How a model's downloads compare with the most downloaded of its size. Pure.

The relative adoption metric of the ATOM project (arXiv 2604.07190): downloads until so many days
after the release, over the median until that day of the ten most downloaded models of the size.
Above 1, a model is on its way to be one of them. Classes of size are those of
Interconnects-AI/tracked-models, ``metadata/model_sizes.py``.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

from liveweights.adoption.snapshots import Snapshot

DAYS = (7, 14, 30, 60, 90, 180, 365)
"""After the release."""
TOP = 10
BILLION = 10**9
CLASSES = (
    (1, "<1B"),
    (5, "1-5B"),
    (10, "7-9B"),
    (50, "10-50B"),
    (100, "50-100B"),
    (250, "100-250B"),
)
"""Each below so many billions of parameters; "7-9B" is the published name of 5 to 10."""
LARGEST = "250B+"


@dataclass(frozen=True, slots=True)
class Tracked:
    """A model that was released on a day. ``parameters`` counts all of its values."""

    hub_id: str
    released: datetime.date
    parameters: int


class Relative(msgspec.Struct, frozen=True, kw_only=True):
    """``score`` is ``downloads`` over ``median``, that of ``compared`` models of the class whose
    downloads until that day are known. ``sources`` are of the downloads."""

    model: str
    size: str
    day: int
    downloads: float
    median: float
    compared: int
    score: float
    sources: tuple[str, ...]


def size_class(parameters: int) -> str:
    """The class of a number of parameters."""
    return next((name for below, name in CLASSES if parameters < below * BILLION), LARGEST)


def list_relative(
    models: Iterable[Tracked], snapshots: Iterable[Snapshot], days: Sequence[int] = DAYS
) -> tuple[Relative, ...]:
    """A row for each model and day that both are known of: the model's downloads, and those of any
    of the ten that have most in its class by the newest snapshot of each."""
    series = _series(snapshots)
    classes: dict[str, list[Tracked]] = defaultdict(list)
    for model in models:
        if model.hub_id in series:
            classes[size_class(model.parameters)].append(model)
    return tuple(
        one for size in sorted(classes) for one in _of_class(size, classes[size], series, days)
    )


def downloads_until(snapshots: Sequence[Snapshot], day: datetime.date) -> float | None:
    """Between two snapshots on a straight line; None before the first and after the last."""
    place = bisect_left(snapshots, day, key=lambda one: one.day)
    if place < len(snapshots) and snapshots[place].day == day:
        return snapshots[place].downloads
    if not 0 < place < len(snapshots):
        return None
    before, after = snapshots[place - 1], snapshots[place]
    passed = (day - before.day) / (after.day - before.day)
    return before.downloads + passed * (after.downloads - before.downloads)


def _of_class(
    size: str,
    models: Iterable[Tracked],
    series: Mapping[str, Sequence[Snapshot]],
    days: Sequence[int],
) -> Iterable[Relative]:
    ordered = sorted(models, key=lambda one: (-series[one.hub_id][-1].downloads, one.hub_id))
    for day in days:
        reached = {
            one.hub_id: count
            for one in ordered
            if (count := _after(one, series[one.hub_id], day)) is not None
        }
        top = [reached[one.hub_id] for one in ordered[:TOP] if one.hub_id in reached]
        if not top or not (middle := median(top)):
            continue
        for one in ordered:
            if one.hub_id in reached:
                yield Relative(
                    model=one.hub_id,
                    size=size,
                    day=day,
                    downloads=reached[one.hub_id],
                    median=middle,
                    compared=len(top),
                    score=reached[one.hub_id] / middle,
                    sources=tuple(sorted({s.source for s in series[one.hub_id]})),
                )


def _after(model: Tracked, snapshots: Sequence[Snapshot], days: int) -> float | None:
    """Before the release there were none."""
    whole = [s for s in snapshots if s.day > model.released]
    start = Snapshot(model=model.hub_id, day=model.released, downloads=0, source="release")
    return downloads_until([start, *whole], model.released + datetime.timedelta(days=days))


def _series(snapshots: Iterable[Snapshot]) -> dict[str, list[Snapshot]]:
    """Of each model a snapshot for each day, in order; of several of one day the largest."""
    best: dict[tuple[str, datetime.date], Snapshot] = {}
    for one in snapshots:
        key = one.model, one.day
        if key not in best or one.downloads > best[key].downloads:
            best[key] = one
    series: dict[str, list[Snapshot]] = defaultdict(list)
    for key in sorted(best):
        series[key[0]].append(best[key])
    return series
