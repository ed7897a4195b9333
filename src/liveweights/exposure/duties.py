"""Which duties of licences apply at the service's own figures. Pure, and not legal advice."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from liveweights.catalog.licences import Duty, DutyKind, Limit
from liveweights.exposure.facts import Served
from liveweights.exposure.revenue import Amounts

State = Literal["always", "applies", "not by own figures", "unknown"]
"""``always``: it has no threshold. ``unknown``: its threshold is not told for programs, or the
figures do not say on which side of it they are."""
MONTH = 30
"""Days."""
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of this service alone: users who were named on ``users_days`` of the last 30 days, those
    whose rows are still there, and revenue of the last 30 and 365 days by currency. A licence may
    count a whole company's."""

    users_month: int
    revenue_month: Amounts
    revenue_year: Amounts
    users_days: int = MONTH

    def read(self, limit: Limit) -> tuple[float, bool]:
        """The figure that a threshold is about, and whether that is all: else it is at least so
        much, and days or other currencies come on top. Of revenue that names no period, the
        year's."""
        if limit.metric == "monthly_active_users":
            return self.users_month, self.users_days >= MONTH
        amounts = self._revenue(limit)
        return amounts.get(limit.unit or "", 0.0), not set(amounts) - {limit.unit}

    def describe(self, limit: Limit) -> str:
        """The figure in words."""
        if limit.metric == "monthly_active_users":
            days = "" if self.users_days >= MONTH else f" on {self.users_days} of {MONTH} days"
            return f"monthly active users {self.users_month:,}{days}"
        amounts = self._revenue(limit) or {limit.unit or "": 0.0}
        return "revenue " + " and ".join(f"{n:,.10g} {one}".strip() for one, n in amounts.items())

    def _revenue(self, limit: Limit) -> Amounts:
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
    told: dict[State, list[Limit]] = {"applies": [], "unknown": [], "not by own figures": []}
    for limit in duty.limits:
        holds = _holds(limit, figures)
        told["unknown" if holds is None else "applies" if holds else "not by own figures"].append(
            limit
        )
    state: State = next(state for state, limits in told.items() if limits)
    return state, "; ".join(_told(told[state], figures))


def _holds(limit: Limit, figures: Figures) -> bool | None:
    """None: it would, or would not, with what the figures leave out."""
    figure, is_all = figures.read(limit)
    holds = _COMPARE[limit.op](figure, limit.value)
    # More can only take it above the threshold.
    return holds if is_all or holds is limit.op.startswith(">") else None


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
        unit = f" {one.unit}" if one.unit else ""
        over = f" a {one.period}" if one.period else ""
        yield f"{figures.describe(one)}, it asks for {one.op} {one.value:,}{unit}{over}"
