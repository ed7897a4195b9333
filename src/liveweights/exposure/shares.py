"""How much of the traffic depends on whom, and how concentrated that is. Pure."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from liveweights.exposure.facts import Dimension, Learnt, Served, Traffic
from liveweights.meter.money import NANOS
from liveweights.terms.facts import unknown_facts


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on one maker, country, licence or other ``value``.

    A model that was derived from another's depends on both, so the shares of all values may add up
    to more than 1. ``promoted`` and ``gain`` are what was learnt on it (see ``Learnt``).
    """

    value: str
    aliases: tuple[str, ...]
    tenants: tuple[str, ...]
    answers: int
    tokens: int
    revenue: float
    answer_share: float
    token_share: float
    revenue_share: float
    promoted: int
    gain: float


class Concentration(msgspec.Struct, frozen=True, kw_only=True):
    """The Herfindahl index of the answers of one week, from its Monday: the sum of the squares of
    the shares, 1 where one has all (Rhoades 1993, Federal Reserve Bulletin 79, 188). Each model
    counts for its own maker (or country, ...) only."""

    week: datetime.date
    index: float
    largest: str
    share: float


def list_shares(
    served: Iterable[Served],
    traffic: Sequence[Traffic],
    learnt: Iterable[Learnt],
    dimension: Dimension,
) -> tuple[Share, ...]:
    """A row for each value that a model of the service or of the traffic has, the most answers
    first."""
    models = with_former(served, traffic)
    gains = {one.alias: one for one in learnt}
    aliases: dict[str, list[str]] = defaultdict(list)
    for alias in sorted(models):
        for value in models[alias].values(dimension):
            aliases[value].append(alias)
    shares = [_share(value, names, traffic, gains) for value, names in aliases.items()]
    return tuple(sorted(shares, key=lambda one: (-one.answers, one.value)))


def list_concentrations(
    served: Iterable[Served], traffic: Sequence[Traffic], dimension: Dimension
) -> tuple[Concentration, ...]:
    """A row for each week with answers, the first one first."""
    models = with_former(served, traffic)
    weeks: dict[datetime.date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in traffic:
        monday = one.day - datetime.timedelta(days=one.day.weekday())
        weeks[monday][models[one.alias].values(dimension)[0]] += one.answers
    return tuple(
        _concentration(week, weeks[week]) for week in sorted(weeks) if any(weeks[week].values())
    )


def with_former(served: Iterable[Served], traffic: Iterable[Traffic]) -> dict[str, Served]:
    """Models by alias, with those that answered and are not there any more: nothing is known of
    whose they were."""
    models = {one.alias: one for one in served}
    for one in traffic:
        models.setdefault(one.alias, Served(facts=unknown_facts(one.alias)))
    return models


def _share(
    value: str, aliases: Sequence[str], traffic: Sequence[Traffic], gains: Mapping[str, Learnt]
) -> Share:
    ours = [one for one in traffic if one.alias in aliases]
    learnt = [gains[alias] for alias in aliases if alias in gains]
    return Share(
        value=value,
        aliases=tuple(aliases),
        tenants=tuple(sorted({one.tenant for one in ours})),
        answers=sum(one.answers for one in ours),
        tokens=sum(_tokens(one) for one in ours),
        revenue=sum(one.revenue for one in ours) / NANOS,
        answer_share=_part(sum(x.answers for x in ours), sum(x.answers for x in traffic)),
        token_share=_part(sum(map(_tokens, ours)), sum(map(_tokens, traffic))),
        revenue_share=_part(sum(x.revenue for x in ours), sum(x.revenue for x in traffic)),
        promoted=sum(one.promoted for one in learnt),
        gain=sum(one.gain for one in learnt),
    )


def _concentration(week: datetime.date, answers: Mapping[str, int]) -> Concentration:
    whole = sum(answers.values())
    largest = min(answers, key=lambda value: (-answers[value], value))
    return Concentration(
        week=week,
        index=sum((count / whole) ** 2 for count in answers.values()),
        largest=largest,
        share=answers[largest] / whole,
    )


def _tokens(one: Traffic) -> int:
    return one.prompt_tokens + one.output_tokens


def _part(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
