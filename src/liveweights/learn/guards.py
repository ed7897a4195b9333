"""Bounds on what a few users can do to everybody's weights."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

BINS = 4
"""Answers of a segment are compared among those that the model was about as sure of."""
LEAST_VARIANCE = 0.01
FEWEST = 16
"""Votes below which nobody is called an outlier."""


class Weighted(Protocol):
    """A dataclass with a weight."""

    @property
    def weight(self) -> float: ...


R = TypeVar("R", bound=Weighted)


@dataclass(frozen=True, slots=True)
class Vote:
    """``reward`` of one answer by ``user``; ``sureness`` is the answer's mean log-probability
    under the policy that gave it."""

    user: str
    segment: str
    reward: float
    sureness: float


def cap(rows: Sequence[R], share: float, holder: Callable[[R], str]) -> list[R]:
    """Scale down the rows of each holder who has more than ``share`` of the total absolute weight
    to that much of it. Where there are so few holders that twice an equal part is more than the
    share, that is the bound: of two holders none is capped."""
    held: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        held[holder(row)] += abs(row.weight)
    most = max(share, 2.0 / max(1, len(held))) * sum(held.values())
    return [
        row
        if held[holder(row)] <= most
        else replace(cast(Any, row), weight=row.weight * most / held[holder(row)])
        for row in rows
    ]


def outliers(votes: Sequence[Vote], limit: float) -> dict[str, float]:
    """Users whose votes stand further than ``limit`` from their segments', with how far.

    What to expect of a vote is the mean reward that *other* users gave to answers of the same
    segment of which the model was about as sure (a quarter of the segment at a time). A user's
    distance is the mean squared difference of the votes from that, and how unusual it is, the
    difference from the mean distance of the other users' votes in standard errors (Welch's t). It
    finds who votes against what everybody else finds right, in either direction. Whose votes rise
    with what is expected of them is kept however far off they are: that user has easier or harder
    work than others, not another opinion.
    """
    expected = _expected(votes)
    distance = [(vote.reward - e) ** 2 for vote, e in zip(votes, expected, strict=True)]
    return {
        user: t
        for user, places in _by(votes, lambda vote: vote.user).items()
        if (t := _unusual(places, distance)) > limit
        and _alignment([votes[p].reward for p in places], [expected[p] for p in places]) <= 0
    }


def _expected(votes: Sequence[Vote]) -> list[float]:
    groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for name, members in _by(votes, lambda vote: vote.segment).items():
        ordered = sorted(votes[place].sureness for place in members)
        edges = [ordered[len(ordered) * k // BINS] for k in range(1, BINS)]
        for place in members:
            groups[name, bisect_right(edges, votes[place].sureness)].append(place)
    expected = [0.0] * len(votes)
    for members in groups.values():
        total = sum(votes[place].reward for place in members)
        own: defaultdict[str, list[float]] = defaultdict(list)
        for place in members:
            own[votes[place].user].append(votes[place].reward)
        for place in members:
            mine = own[votes[place].user]
            others = len(members) - len(mine)
            expected[place] = (total - sum(mine)) / others if others else sum(mine) / len(mine)
    return expected


def _alignment(rewards: Sequence[float], expected: Sequence[float]) -> float:
    """Covariance of votes and expectations, times their number."""
    mean = sum(expected) / len(expected)
    found = sum(r * (e - mean) for r, e in zip(rewards, expected, strict=True))
    return 0.0 if abs(found) < 1e-9 else found


def _unusual(places: Sequence[int], distance: Sequence[float]) -> float:
    inside = set(places)
    mine = [distance[place] for place in places]
    others = [value for place, value in enumerate(distance) if place not in inside]
    if len(mine) < FEWEST or len(others) < FEWEST:
        return 0.0
    (mean, error), (usual, spread) = _mean(mine), _mean(others)
    return (mean - usual) / math.sqrt(error + spread)


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and its squared standard error. A few votes that happen to agree are no certainty."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, max(variance, LEAST_VARIANCE) / len(values)


def _by(votes: Sequence[Vote], key: Callable[[Vote], str]) -> Mapping[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, vote in enumerate(votes):
        found[key(vote)].append(place)
    return found
