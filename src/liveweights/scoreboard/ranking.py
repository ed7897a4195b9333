"""Who is ahead of whom on one suite, and who is tied: all pairs, on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist

import msgspec

from liveweights.gate.holm import holm
from liveweights.gate.statistics import Difference, paired_difference, wilson
from liveweights.scoreboard.letters import assign_letters
from liveweights.scoreboard.randomisation import randomised_difference, smallest_p, widen

ROUNDING = 1e-12
"""Standard errors below it are of equal means."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What one model scored, in [0, 1], by case: the mean of its attempts."""

    model: str
    scores: Mapping[str, float]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A model's mean score with its interval. ``rank`` counts only the models that are shown to be
    ahead. Models that share a letter of ``tied`` are not told apart."""

    model: str
    rank: int
    score: float
    low: float
    high: float
    tied: str


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two models, ``ahead`` with the higher mean. ``p`` is of "they score alike", two-sided, after
    Holm's correction over all pairs; ``apart``: it is at most 1 - confidence. The interval of
    ``difference`` is for this pair alone."""

    ahead: str
    behind: str
    difference: Difference
    p: float
    apart: bool


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """``groups`` is the number of groups that the cases come from. ``least_p`` is the smallest
    p-value that so many allow any pair; where it is over 1 - confidence, no two can be told apart,
    whatever they score. ``detectable`` is the true difference of mean scores that would be found
    with ``power`` between any two of the models; None where there is no pair, no spread was seen,
    or nothing can be told."""

    places: tuple[Place, ...]
    pairs: tuple[Pair, ...]
    cases: int
    groups: int
    confidence: float
    power: float
    least_p: float
    detectable: float | None


def rank(
    columns: Sequence[Column],
    groups: Mapping[str, str],
    *,
    confidence: float = 0.95,
    power: float = 0.8,
) -> Ranking:
    """Compare every model with every other on the same cases; ``groups`` names what a case depends
    on, where that is something other than itself.

    Differences are paired and by group, those of `randomised_difference`; their p-values are Holm's
    over all pairs, so that the chance of any wrong claim in the whole table is at most
    1 - confidence. Raises ValueError where two models have other cases.
    """
    if len({frozenset(column.scores) for column in columns}) > 1:
        raise ValueError("models are compared on the same cases only")
    cases = sorted(columns[0].scores) if columns else []
    if not cases:
        raise ValueError("there are no cases to compare")
    groups_C = [groups.get(case, case) for case in cases]
    count = len(set(groups_C))
    values = {column.model: [column.scores[case] for case in cases] for column in columns}
    best = sorted(values, key=lambda model: (-sum(values[model]), model))
    numbers = list(combinations(range(len(best)), 2))

    def compare(one: int, other: int, confidence: float) -> tuple[Difference, float]:
        return randomised_difference(values[best[one]], values[best[other]], groups_C, confidence)

    compared = [compare(*pair, confidence) for pair in numbers]
    differences = [difference for difference, _ in compared]
    adjusted = holm([p for _, p in compared])
    apart = {
        pair
        for pair, p, one in zip(numbers, adjusted, differences, strict=True)
        if p <= 1 - confidence and one.standard_error
    }
    detectable = None
    if numbers:
        # Of the pair with the widest error, at the level of Holm's first step.
        errors = [one.standard_error or 0.0 for one in differences]
        widest = numbers[errors.index(max(errors))]
        detectable = _detectable(compare(*widest, 1 - (1 - confidence) / len(numbers))[0], power)
    letters = assign_letters(len(best), apart)
    places: list[Place] = []
    for number, model in enumerate(best):
        low, high = _interval(values[model], groups_C, confidence)
        places.append(
            Place(
                model=model,
                rank=1 + sum((other, number) in apart for other in range(number)),
                score=sum(values[model]) / len(cases),
                low=low,
                high=high,
                tied=letters[number],
            )
        )
    pairs = tuple(
        Pair(ahead=best[i], behind=best[j], difference=one, p=p, apart=(i, j) in apart)
        for (i, j), one, p in zip(numbers, differences, adjusted, strict=True)
    )
    return Ranking(
        places=tuple(places),
        pairs=pairs,
        cases=len(cases),
        groups=count,
        confidence=confidence,
        power=power,
        least_p=min(1.0, len(pairs) * smallest_p(count)) if count < len(cases) else 0.0,
        detectable=detectable,
    )


def _interval(
    scores_C: Sequence[float], groups_C: Sequence[str], confidence: float
) -> tuple[float, float]:
    """Of a mean score: Wilson's where cases are independent and right or wrong, else the wider of
    Student's t, clustered by group, and that of swapped groups, within [0, 1]. Where all groups
    have one mean, nothing tells how far cases of a group depend on each other: each counts as one
    trial of Wilson's."""
    score, count = sum(scores_C) / len(scores_C), len(set(groups_C))
    if count == len(scores_C) and set(scores_C) <= {0.0, 1.0}:
        return wilson(round(sum(scores_C)), len(scores_C), confidence)
    zeros = [0.0] * len(scores_C)
    clustered = paired_difference(scores_C, zeros, groups_C, confidence)
    mean, _ = widen(clustered, scores_C, zeros, groups_C)
    if mean.low is None or mean.high is None:
        return 0.0, 1.0
    low, high = mean.low, mean.high
    if (clustered.standard_error or 0.0) <= ROUNDING:
        low, high = wilson(score * count, count, confidence)
    return min(score, max(0.0, low)), max(score, min(1.0, high))


def _detectable(strict: Difference, power: float) -> float | None:
    """The true difference whose interval, as wide as that of ``strict``, is clear of 0 with this
    ``power`` (arXiv 2411.00640, section 5, solved for the effect)."""
    if strict.low is None or strict.high is None or not strict.standard_error:
        return None
    reach = max(strict.mean - strict.low, strict.high - strict.mean)
    return reach + NormalDist().inv_cdf(power) * strict.standard_error
