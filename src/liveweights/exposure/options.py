"""Models that could take another's place, and how they compare with it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from liveweights.catalog.cards import Card, Score
from liveweights.catalog.prices import ListedPrice
from liveweights.exposure.facts import Served, Traffic
from liveweights.exposure.proportions import Rate, difference_of, rate_of

MONTH = 30.0
"""Days."""
MILLION = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A model that could answer: one of the service, or one of the catalogue. ``prices`` are those
    of whoever hosts it."""

    model: Served
    is_served: bool
    prices: tuple[ListedPrice, ...] = ()

    @property
    def name(self) -> str:
        return self.model.alias


class ScoreDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Two published results on one benchmark of one version and harness, in one setting."""

    benchmark: str
    before: float
    after: float
    unit: str


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars a month at the traffic of now, by the cheapest listed price of each. None: no list
    has one, as of what runs here."""

    before: float | None
    after: float | None
    provider: str | None

    @property
    def difference(self) -> float | None:
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


class Substitute(msgspec.Struct, frozen=True, kw_only=True):
    """One model in another's place. ``accepted`` is its accept rate minus the other's, on what each
    was asked here (other requests, so a hint and no trial); None: one of them has no clicks.
    ``lost`` says in words what it cannot do."""

    name: str
    is_served: bool
    accepted: Rate | None
    scores: tuple[ScoreDifference, ...]
    cost: Cost
    context_before: int | None
    context_after: int | None
    lost: tuple[str, ...]


def compare(option: Option, before: Option, traffic: Sequence[Traffic], days: float) -> Substitute:
    """``traffic`` is of ``days`` days."""
    ours, theirs = before.model.card, option.model.card
    rates = [_rate(one, traffic) for one in (option, before)]
    return Substitute(
        name=option.name,
        is_served=option.is_served,
        accepted=difference_of(rates[0], rates[1]) if rates[0] and rates[1] else None,
        scores=tuple(compare_scores(ours, theirs)) if ours and theirs else (),
        cost=_cost(option, before, traffic, days),
        context_before=before.model.facts.context,
        context_after=option.model.facts.context,
        lost=tuple(_lost(ours, theirs)),
    )


def compare_scores(before: Card, after: Card) -> Iterable[ScoreDifference]:
    """Results that compare: version, harness and setting are known of both and the same."""
    results = {_terms(score): score for score in after.scores}
    for score in before.scores:
        other = results.get(_terms(score))
        if other is not None and score.version and score.harness and score.setting:
            yield ScoreDifference(
                benchmark=score.benchmark, before=score.value, after=other.value, unit=score.unit
            )


def rank(one: Substitute, before: Option, option: Option) -> tuple[object, ...]:
    """What is sorted by: models of the service whose users judged them come first, the surest
    accept rate first; then the fewest losses, the best comparable scores, the nearest size."""
    gains = [score.after - score.before for score in one.scores]
    return (
        not one.is_served,
        -(one.accepted.low if one.accepted else -1.0),
        len(one.lost),
        -sum(gains) / len(gains) if gains else 0.0,
        _distance(before.model.card, option.model.card),
        one.name,
    )


def _terms(score: Score) -> tuple[str | None, ...]:
    return (score.benchmark, score.version, score.harness, score.setting, score.unit)


def _rate(option: Option, traffic: Iterable[Traffic]) -> Rate | None:
    """None of a model that nobody has used here. What its alias gave on another base before was
    another model's."""
    if not option.is_served:
        return None
    ours = [one for one in traffic if one.key == option.model.key]
    accepted = sum(one.accepted for one in ours)
    return rate_of(accepted, accepted + sum(one.rejected for one in ours))


def _cost(option: Option, before: Option, traffic: Iterable[Traffic], days: float) -> Cost:
    # Whatever base it stood on: what is asked of the alias is what another would have to answer.
    ours = [one for one in traffic if one.alias == before.name]
    prompt = sum(one.prompt_tokens for one in ours) * MONTH / days
    output = sum(one.output_tokens for one in ours) * MONTH / days
    priced = [_monthly(side.prices, prompt, output) for side in (before, option)]
    return Cost(
        before=priced[0][0] if priced[0] else None,
        after=priced[1][0] if priced[1] else None,
        provider=priced[1][1] if priced[1] else None,
    )


def _monthly(
    prices: Iterable[ListedPrice], prompt: float, output: float
) -> tuple[float, str] | None:
    """The cheapest, and whose."""
    known = [
        ((one.input * prompt + one.output * output) / MILLION, one.provider)
        for one in prices
        if one.input is not None and one.output is not None
    ]
    return min(known, default=None)


def _lost(before: Card | None, after: Card | None) -> Iterable[str]:
    if before is None or after is None:
        yield "what it can do is not compared: one of the two has no card"
        return
    if (before.context or 0) > (after.context or 0):
        left = "not known" if after.context is None else f"{after.context:,} tokens"
        yield f"context: {left}, {before.context:,} before"
    for modality in before.modalities:
        if modality not in after.modalities:
            yield f"{modality} is not among what it takes"


def _distance(one: Card | None, other: Card | None) -> float:
    """How far apart two sizes are, as the logarithm of their ratio."""
    sizes = [card.parameters_total if card else None for card in (one, other)]
    if sizes[0] is None or sizes[1] is None:
        return math.inf
    return abs(math.log(sizes[0] / sizes[1]))
