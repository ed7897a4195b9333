"""How much of the traffic depends on whom, and how concentrated that is. Pure."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from liveweights.exposure.facts import Dimension, Key, Learnt, Served, Traffic
from liveweights.exposure.revenue import Amounts, Nanos, add, in_units, shares_of
from liveweights.terms.facts import unknown_facts


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on one maker, country, licence or other ``value``.

    A model that was derived from another's depends on both, so the shares of all values may add up
    to more than 1. An alias that stood on another base before is with both, each with the answers
    that it gave. ``promoted`` and ``gain`` are what was learnt on it (see ``Learnt``).
    """

    value: str
    aliases: tuple[str, ...]
    tenants: tuple[str, ...]
    answers: int
    tokens: int
    revenue: Amounts
    answer_share: float
    token_share: float
    revenue_share: Amounts
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
    *,
    tenants: Mapping[Key, Iterable[str]],
) -> tuple[Share, ...]:
    """A row for each value that a model of ``served`` or of the traffic has, the most answers
    first. Former bases among ``served`` are listed for what they answered. ``tenants`` are those
    who asked them."""
    models = with_former(served, (one.key for one in traffic))
    values = {key: model.values(dimension) for key, model in models.items()}
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for (alias, _), own in values.items():
        for value in own:
            sums[value].aliases.add(alias)
    whole = _Sums()
    for one in traffic:
        whole.add(one)
        for value in values[one.key]:
            sums[value].add(one)
    for key, names in tenants.items():
        for value in values.get(key, ()):
            sums[value].tenants.update(names)
    for one in learnt:
        for value in values.get(one.key, ()):
            sums[value].promoted += one.promoted
            sums[value].gain += one.gain
    shares = [_share(value, one, whole) for value, one in sums.items()]
    return tuple(sorted(shares, key=lambda one: (-one.answers, one.value)))


def list_concentrations(
    served: Iterable[Served], traffic: Sequence[Traffic], dimension: Dimension
) -> tuple[Concentration, ...]:
    """A row for each week with answers, the first one first."""
    models = with_former(served, (one.key for one in traffic))
    own = {key: model.values(dimension)[0] for key, model in models.items()}
    weeks: dict[datetime.date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in traffic:
        monday = one.day - datetime.timedelta(days=one.day.weekday())
        weeks[monday][own[one.key]] += one.answers
    return tuple(
        _concentration(week, weeks[week]) for week in sorted(weeks) if any(weeks[week].values())
    )


def with_former(served: Iterable[Served], keys: Iterable[Key]) -> dict[Key, Served]:
    """Models by alias and base, with those of ``keys`` that are not among them: nothing is known of
    whose they were."""
    models = {one.key: one for one in served}
    for key in keys:
        if key not in models:
            models[key] = Served(facts=unknown_facts(key[0]), base=key[1])
    return models


@dataclass(slots=True)
class _Sums:
    aliases: set[str] = field(default_factory=set[str])
    tenants: set[str] = field(default_factory=set[str])
    answers: int = 0
    tokens: int = 0
    revenue: Nanos = field(default_factory=dict[str, int])
    promoted: int = 0
    gain: float = 0.0

    def add(self, one: Traffic) -> None:
        self.tenants |= one.charged
        self.answers += one.answers
        self.tokens += one.prompt_tokens + one.output_tokens
        add(self.revenue, one.revenue)


def _share(value: str, own: _Sums, whole: _Sums) -> Share:
    return Share(
        value=value,
        aliases=tuple(sorted(own.aliases)),
        tenants=tuple(sorted(own.tenants)),
        answers=own.answers,
        tokens=own.tokens,
        revenue=in_units(own.revenue),
        answer_share=_part(own.answers, whole.answers),
        token_share=_part(own.tokens, whole.tokens),
        revenue_share=shares_of(own.revenue, whole.revenue),
        promoted=own.promoted,
        gain=own.gain,
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


def _part(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
