"""Who is ahead of whom on one suite, and who is tied: all pairs, on the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist

import msgspec

from liveweights.gate.holm import holm
from liveweights.gate.statistics import (
    Difference,
    adjusted_difference,
    at_confidence,
    paired_difference,
    tails,
    wilson,
)
from liveweights.scoreboard.letters import assign_letters


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
    """``detectable`` is the true difference of mean scores that would be found with ``power``
    between any two of the models; None where there is no pair, or no spread was seen."""

    places: tuple[Place, ...]
    pairs: tuple[Pair, ...]
    cases: int
    confidence: float
    power: float
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

    Differences are paired and clustered by group, with the added cases of `adjusted_difference`;
    their p-values are Holm's over all pairs, so that the chance of any wrong claim in the whole
    table is at most 1 - confidence. Raises ValueError where two models have other cases.
    """
    if len({frozenset(column.scores) for column in columns}) > 1:
        raise ValueError("models are compared on the same cases only")
    cases = sorted(columns[0].scores) if columns else []
    if not cases:
        raise ValueError("there are no cases to compare")
    sessions = [groups.get(case, case) for case in cases]
    grouped = len(set(sessions)) < len(cases)
    values = {column.model: [column.scores[case] for case in cases] for column in columns}
    best = sorted(values, key=lambda model: (-sum(values[model]), model))
    numbers = list(combinations(range(len(best)), 2))
    differences = [
        adjusted_difference(values[best[i]], values[best[j]], sessions, confidence)
        for i, j in numbers
    ]
    adjusted = holm([min(1.0, 2 * min(tails(one))) for one in differences])
    apart = {
        pair
        for pair, p, one in zip(numbers, adjusted, differences, strict=True)
        if p <= 1 - confidence and one.standard_error
    }
    letters = assign_letters(len(best), apart)
    places: list[Place] = []
    for number, model in enumerate(best):
        low, high = _interval(values[model], sessions if grouped else None, confidence)
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
        confidence=confidence,
        power=power,
        detectable=_detectable(differences, confidence, power),
    )


def combine(rankings: Sequence[Ranking]) -> tuple[Pair, ...]:
    """All pairs over several suites of equal weight: the mean of the suites' differences, whose
    error is the root of the sum of the squared ones over their number. Only pairs that every suite
    has with a spread; ``p`` is Holm's over them."""
    if not rankings:
        return ()
    signed = [_signed(ranking) for ranking in rankings]
    common = sorted(set[tuple[str, str]].intersection(*(set(one) for one in signed)))
    differences: list[tuple[str, str, Difference]] = []
    for one, other in common:
        parts = [suite[one, other] for suite in signed]
        errors = [part.standard_error for part in parts]
        if all(errors):
            joint = _mean(parts, [error for error in errors if error], rankings[0].confidence)
            turned = joint.mean < 0
            ends = (other, one) if turned else (one, other)
            differences.append((*ends, turn(joint) if turned else joint))
    adjusted = holm([min(1.0, 2 * min(tails(one))) for *_, one in differences])
    return tuple(
        Pair(ahead=ahead, behind=behind, difference=one, p=p, apart=p <= 1 - one.confidence)
        for (ahead, behind, one), p in zip(differences, adjusted, strict=True)
    )


def _signed(ranking: Ranking) -> dict[tuple[str, str], Difference]:
    """Differences of the names in their alphabetical order."""
    return {
        (pair.ahead, pair.behind) if pair.ahead < pair.behind else (pair.behind, pair.ahead): (
            pair.difference if pair.ahead < pair.behind else turn(pair.difference)
        )
        for pair in ranking.pairs
    }


def turn(one: Difference) -> Difference:
    """The same, of incumbent minus candidate."""
    turned = msgspec.structs.replace(
        one,
        mean=-one.mean,
        shift=-one.shift,
        wins=one.changed - one.wins,
        candidate=one.incumbent,
        incumbent=one.candidate,
    )
    return at_confidence(turned, one.confidence)


def _mean(parts: Sequence[Difference], errors: Sequence[float], confidence: float) -> Difference:
    count = len(parts)
    joint = Difference(
        mean=sum(part.mean for part in parts) / count,
        low=None,
        high=None,
        standard_error=math.sqrt(sum(error * error for error in errors)) / count,
        confidence=confidence,
        cases=sum(part.cases for part in parts),
        sessions=sum(part.sessions for part in parts),
        changed=sum(part.changed for part in parts),
        wins=sum(part.wins for part in parts),
        candidate=sum(part.candidate for part in parts) / count,
        incumbent=sum(part.incumbent for part in parts) / count,
        shift=sum(part.shift for part in parts) / count,
    )
    return at_confidence(joint, confidence)


def _interval(
    scores_B: Sequence[float], sessions_B: Sequence[str] | None, confidence: float
) -> tuple[float, float]:
    """Of a mean score: Wilson's where cases are independent and right or wrong, else Student's t
    clustered by group, within [0, 1]."""
    if sessions_B is None and set(scores_B) <= {0.0, 1.0}:
        return wilson(round(sum(scores_B)), len(scores_B), confidence)
    mean = paired_difference(scores_B, [0.0] * len(scores_B), sessions_B, confidence)
    if mean.low is None or mean.high is None:
        return 0.0, 1.0
    return max(0.0, mean.low), min(1.0, mean.high)


def _detectable(differences: Sequence[Difference], confidence: float, power: float) -> float | None:
    """``(z_{alpha / (2 pairs)} + z_power)`` standard errors of the pair with the widest (arXiv
    2411.00640, section 5, solved for the effect), at the level of Holm's first step."""
    errors = [one.standard_error for one in differences if one.standard_error]
    if not errors:
        return None
    normal = NormalDist()
    alpha = (1 - confidence) / len(differences)
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * max(errors)
