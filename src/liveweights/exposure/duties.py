"""Which duties of licences apply at the service's own figures. Pure, and not legal advice."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from liveweights.catalog.licences import Duty, DutyKind, Limit
from liveweights.exposure.facts import Served

State = Literal["always", "applies", "not by own figures", "unknown"]
"""``always``: it has no threshold. ``unknown``: its threshold is not told for programs."""
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of this service alone: users who were named in the last 30 days, and revenue of the last 30
    and 365 days in the currency of its prices. A licence may count a whole company's."""

    users_month: int
    revenue_month: float
    revenue_year: float

    def read(self, limit: Limit) -> float:
        """The figure that a threshold is about; of revenue that names no period, the year's."""
        if limit.metric == "monthly_active_users":
            return self.users_month
        return self.revenue_month if limit.period == "month" else self.revenue_year


class DutyStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One duty of ``origin``, a model that ``aliases`` are or were derived from."""

    aliases: tuple[str, ...]
    origin: str
    licence: str
    kind: DutyKind
    text: str
    state: State
    why: str


def list_duties(served: Iterable[Served], figures: Figures) -> tuple[DutyStanding, ...]:
    """Every duty once, with all aliases that it is about; those that apply first."""
    aliases: dict[tuple[str, str, Duty], list[str]] = {}
    for model in served:
        for origin in model.facts.origins:
            for duty in origin.duties:
                aliases.setdefault((origin.name, origin.licence, duty), []).append(model.alias)
    standings = [_standing(which, names, figures) for which, names in aliases.items()]
    order: list[State] = ["applies", "always", "unknown", "not by own figures"]
    return tuple(sorted(standings, key=lambda one: (order.index(one.state), one.origin, one.kind)))


def judge_duty(duty: Duty, figures: Figures) -> tuple[State, str]:
    """Whether it applies, and why."""
    if not duty.limits:
        if duty.threshold is None:
            return "always", "it has no threshold"
        return "unknown", f"its threshold is in words: {duty.threshold}"
    holding = [one for one in duty.limits if _COMPARE[one.op](figures.read(one), one.value)]
    state: State = "applies" if holding else "not by own figures"
    return state, "; ".join(_told(holding or duty.limits, figures))


def _standing(which: tuple[str, str, Duty], aliases: list[str], figures: Figures) -> DutyStanding:
    """``which``: a duty of a model, under a licence."""
    origin, licence, duty = which
    state, why = judge_duty(duty, figures)
    return DutyStanding(
        aliases=tuple(dict.fromkeys(aliases)),
        origin=origin,
        licence=licence,
        kind=duty.kind,
        text=duty.text,
        state=state,
        why=why,
    )


def _told(limits: Iterable[Limit], figures: Figures) -> Iterator[str]:
    for one in limits:
        what = one.metric.replace("_", " ")
        unit = f" {one.unit}" if one.unit else ""
        over = f" a {one.period}" if one.period else ""
        yield f"{what} {figures.read(one):,.10g}, it asks for {one.op} {one.value:,}{unit}{over}"
