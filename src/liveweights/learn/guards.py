"""Bounds on what a few can do to everybody's weights."""

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
ROUNDS = 1000
"""Steps after which a bound that shrinks and shrinks is taken as it is."""


class Weighted(Protocol):
    """A dataclass with a weight."""

    @property
    def weight(self) -> float: ...


R = TypeVar("R", bound=Weighted)


@dataclass(frozen=True, slots=True)
class Vote:
    """``reward`` of one answer by ``user``, one of a ``group`` whose votes are tested together;
    ``sureness`` is the answer's mean log-probability under the policy that gave it, ``weight`` how
    much it counts beside others' votes."""

    user: str
    group: str
    segment: str
    reward: float
    sureness: float
    weight: float = 1.0


def cap(
    rows: Sequence[R], share: float | Callable[[str], float], holder: Callable[[R], str]
) -> list[R]:
    """Scale down the rows of holders who have more than their ``share`` of the total absolute
    weight, until each has at most that share of what is left. Where there are so few holders that
    twice an equal part is more than the share, that is the bound: of two holders none is capped.
    """
    held: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        if row.weight:
            held[holder(row)] += abs(row.weight)
    least = 2.0 / max(1, len(held))
    shares = {name: max(least, share(name) if callable(share) else share) for name in held}
    total = sum(held.values())
    for _ in range(ROUNDS):
        bounded = sum(min(weight, shares[name] * total) for name, weight in held.items())
        if bounded >= total * (1 - 1e-9):
            break
        total = bounded
    factors = {
        name: shares[name] * total / weight
        for name, weight in held.items()
        if weight > shares[name] * total
    }
    return [
        replace(cast(Any, row), weight=row.weight * factors[holder(row)])
        if row.weight and holder(row) in factors
        else row
        for row in rows
    ]


def outliers(votes: Sequence[Vote], limit: float) -> dict[str, float]:
    """Groups whose votes stand further than ``limit`` from their segments', with how far.

    What to expect of a vote is the mean reward that *other* groups gave to answers of the same
    segment of which the model was about as sure (a quarter of the segment at a time). A group's
    distance is the mean squared difference of the votes from that, and how unusual it is, the
    difference from the mean distance of the other groups' users from one another in standard
    errors (Welch's t). It finds who votes against what everybody else finds right, in either
    direction. Whose votes rise with what is expected of them is kept however far off they are:
    that group has easier or harder work than others, not another opinion. Nor can who has half of
    all the weight be called an outlier: the others are.

    Means are weighted, so that a flood of votes does not decide what is usual.
    """
    bins = _bins(votes)
    total = sum(vote.weight for vote in votes)
    distances: dict[str, float] = {}
    for group, places in _by(votes, lambda vote: vote.group).items():
        others = [place for place, vote in enumerate(votes) if vote.group != group]
        minor = sum(votes[place].weight for place in places) < total / 2
        if not minor or len(places) < FEWEST or len(others) < FEWEST:
            continue
        expected = _expected(votes, bins, group)
        t = _unusual(votes, places, others, expected)
        if t > limit and _alignment(votes, places, expected) <= 0:
            distances[group] = t
    return distances


def _bins(votes: Sequence[Vote]) -> list[list[int]]:
    """Places of votes that are compared with one another."""
    bins: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for name, members in _by(votes, lambda vote: vote.segment).items():
        ordered = sorted(votes[place].sureness for place in members)
        edges = [ordered[len(ordered) * k // BINS] for k in range(1, BINS)]
        for place in members:
            bins[name, bisect_right(edges, votes[place].sureness)].append(place)
    return list(bins.values())


def _expected(votes: Sequence[Vote], bins: Sequence[Sequence[int]], group: str) -> list[float]:
    """Of each vote, by the other groups' votes in its bin but the voter's own; where there are
    none, the vote itself."""
    expected = [vote.reward for vote in votes]
    for members in bins:
        rewards: defaultdict[str, float] = defaultdict(float)
        weights: defaultdict[str, float] = defaultdict(float)
        for place in members:
            vote = votes[place]
            if vote.group != group:
                rewards[vote.user] += vote.weight * vote.reward
                weights[vote.user] += vote.weight
        whole, weight = sum(rewards.values()), sum(weights.values())
        for place in members:
            user = votes[place].user if votes[place].group != group else ""
            others = weight - weights.get(user, 0.0)
            if others > 1e-9:
                expected[place] = (whole - rewards.get(user, 0.0)) / others
    return expected


def _alignment(votes: Sequence[Vote], places: Sequence[int], expected: Sequence[float]) -> float:
    """Covariance of a group's votes and the expectations, times their number."""
    weights = [votes[place].weight for place in places]
    middle = sum(w * expected[p] for w, p in zip(weights, places, strict=True))
    mean = middle / max(sum(weights), 1e-9)
    covariance = sum(
        w * votes[p].reward * (expected[p] - mean) for w, p in zip(weights, places, strict=True)
    )
    return 0.0 if abs(covariance) < 1e-9 else covariance


def _unusual(
    votes: Sequence[Vote],
    places: Sequence[int],
    others: Sequence[int],
    expected: Sequence[float],
) -> float:
    mean, error = _distance(votes, places, expected)
    usual, spread = _distance(votes, others, expected)
    return (mean - usual) / math.sqrt(error + spread)


def _distance(
    votes: Sequence[Vote], places: Sequence[int], expected: Sequence[float]
) -> tuple[float, float]:
    """Weighted mean of the squared differences, and its squared standard error by the effective
    number (Kish 1965) of votes. A few votes that happen to agree are no certainty."""
    values = [(votes[place].reward - expected[place]) ** 2 for place in places]
    weights = [max(votes[place].weight, 1e-9) for place in places]
    total = sum(weights)
    count = total**2 / sum(weight**2 for weight in weights)
    mean = sum(w * value for w, value in zip(weights, values, strict=True)) / total
    spread = sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)) / total
    variance = spread * count / max(count - 1, 1.0)
    return mean, max(variance, LEAST_VARIANCE) / count


def _by(votes: Sequence[Vote], key: Callable[[Vote], str]) -> Mapping[str, list[int]]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, vote in enumerate(votes):
        groups[key(vote)].append(place)
    return groups
