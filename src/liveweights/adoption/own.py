"""What this service asks of whom, a week at a time. Pure."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from liveweights.exposure.facts import Dimension, Key, Served, Traffic
from liveweights.exposure.revenue import Amounts, Nanos, add, in_units, shares_of
from liveweights.exposure.shares import with_former


@dataclass(frozen=True, slots=True)
class Made:
    """Checkpoints that were learnt for an alias on a ``base`` on one day (UTC), those of tenants'
    branches among them."""

    alias: str
    day: datetime.date
    checkpoints: int
    base: str | None = None

    @property
    def key(self) -> Key:
        return self.alias, self.base


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """Of the week from a Monday on: what models of one country, maker or family had. Each model
    counts for its own only, so shares of a week add up to 1 where there is anything; those of
    revenue do in each currency."""

    week: datetime.date
    value: str
    answers: int
    answer_share: float
    tokens: int
    token_share: float
    revenue: Amounts
    revenue_share: Amounts
    checkpoints: int


@dataclass(slots=True)
class _Sums:
    answers: int = 0
    tokens: int = 0
    revenue: Nanos = field(default_factory=dict[str, int])
    checkpoints: int = 0


def list_weeks(
    served: Iterable[Served], traffic: Sequence[Traffic], made: Sequence[Made], by: Dimension
) -> tuple[Week, ...]:
    """A row for each week and value with answers or checkpoints, in order of both."""
    models = with_former(served, (one.key for one in (*traffic, *made)))
    own = {key: model.values(by)[0] for key, model in models.items()}
    sums: dict[datetime.date, dict[str, _Sums]] = defaultdict(lambda: defaultdict(_Sums))
    for one in traffic:
        row = sums[_monday(one.day)][own[one.key]]
        row.answers += one.answers
        row.tokens += one.prompt_tokens + one.output_tokens
        add(row.revenue, one.revenue)
    for one in made:
        sums[_monday(one.day)][own[one.key]].checkpoints += one.checkpoints
    return tuple(
        Week(
            week=week,
            value=value,
            answers=row.answers,
            answer_share=_part(row.answers, [one.answers for one in values.values()]),
            tokens=row.tokens,
            token_share=_part(row.tokens, [one.tokens for one in values.values()]),
            revenue=in_units(row.revenue),
            revenue_share=shares_of(row.revenue, _add_all(one.revenue for one in values.values())),
            checkpoints=row.checkpoints,
        )
        for week, values in sorted(sums.items())
        for value, row in sorted(values.items())
    )


def _add_all(revenues: Iterable[Nanos]) -> Nanos:
    sums: Nanos = {}
    for one in revenues:
        add(sums, one)
    return sums


def _monday(day: datetime.date) -> datetime.date:
    return day - datetime.timedelta(days=day.weekday())


def _part(part: int, all_: Iterable[int]) -> float:
    whole = sum(all_)
    return part / whole if whole else 0.0
