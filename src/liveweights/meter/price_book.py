"""Which price holds for whom, and when. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from liveweights.meter.prices import PriceRow, Side, micros

REMEMBERED = 4096
"""Timelines that are kept: the names of models may be whatever callers write."""


@dataclass(frozen=True, slots=True)
class PlanChange:
    """From ``since`` on the tenant is on ``plan``; empty: on none."""

    tenant: str
    plan: str
    since: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What holds for an answer: our price and what the upstream asks, None where there is none."""

    price: PriceRow | None
    cost: PriceRow | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What holds for one tenant and model: ``held[n]`` from ``starts[n]`` (microseconds since
    2000) until the next; before the first, nothing."""

    starts: tuple[int, ...]
    held: tuple[Held, ...]

    def at(self, micros: int) -> Held:
        place = bisect_right(self.starts, micros)
        return self.held[place - 1] if place else NOTHING_HELD

    def since(self, micros: int) -> tuple[Held, ...]:
        """What holds then, and all that holds later."""
        return self.held[max(0, bisect_right(self.starts, micros) - 1) :]


NOTHING_HELD = Held(None, None)


class PriceBook:
    """All prices and plans that there are. The most particular price holds: one for the tenant,
    else for its plan, else for everybody; of these one for the model, else for all models; of
    these the operator's; of these the latest. What a source has withdrawn holds no longer."""

    def __init__(self, prices: Iterable[PriceRow] = (), plans: Iterable[PlanChange] = ()) -> None:
        self.prices = tuple(prices)
        self._plans: dict[str, list[PlanChange]] = {}
        for change in sorted(plans, key=lambda change: change.since):
            self._plans.setdefault(change.tenant, []).append(change)
        self._timelines: dict[tuple[str, str], Timeline] = {}

    def find(self, tenant: str, model: str, at: datetime) -> Held:
        return self.timeline(tenant, model).at(micros(at))

    def timeline(self, tenant: str, model: str) -> Timeline:
        timeline = self._timelines.get((tenant, model))
        if timeline is None:
            if len(self._timelines) >= REMEMBERED:
                self._timelines.clear()
            timeline = self._timelines[tenant, model] = self._draw(tenant, model)
        return timeline

    def plan_at(self, tenant: str, at: datetime) -> str:
        changes = [change for change in self._plans.get(tenant, ()) if change.since <= at]
        return changes[-1].plan if changes else ""

    def find_foreign(self, tenant: str, currency: str, since: datetime) -> PriceRow | None:
        """A price that the tenant pays then or later, and that is in another currency."""
        models = {price.model or "" for price in self.prices} | {""}
        paid = (
            held.price
            for model in sorted(models)
            for held in self._draw(tenant, model).since(micros(since))
        )
        return next(
            (p for p in paid if p is not None and p.currency != currency and not p.is_nothing), None
        )

    def list_costs(self, at: datetime) -> list[PriceRow]:
        """What upstreams ask at that time, also where something more particular holds."""
        return _latest(p for p in self.prices if p.side == "cost" and p.since <= at)

    def _draw(self, tenant: str, model: str) -> Timeline:
        fitting = [
            price
            for price in self.prices
            if price.model in (None, model) and price.tenant in (None, tenant)
        ]
        moments = {price.since for price in fitting}
        moments |= {change.since for change in self._plans.get(tenant, ())}
        starts: list[int] = []
        held: list[Held] = []
        for at in sorted(moments):
            plan = self.plan_at(tenant, at)
            now = Held(_best(fitting, "sale", plan, at), _best(fitting, "cost", plan, at))
            if not held or (held[-1].price, held[-1].cost) != (now.price, now.cost):
                starts.append(micros(at))
                held.append(now)
        return Timeline(tuple(starts), tuple(held))


def _best(prices: Iterable[PriceRow], side: Side, plan: str, at: datetime) -> PriceRow | None:
    holding = (
        price
        for price in prices
        if price.side == side and price.since <= at and price.plan in (None, plan)
    )
    return max(_latest(holding), key=_rank, default=None)


def _latest(prices: Iterable[PriceRow]) -> list[PriceRow]:
    """What each source says last of a model and of whoever pays; nothing where it has withdrawn."""
    latest: dict[tuple[object, ...], PriceRow] = {}
    for price in sorted(prices, key=lambda price: (price.since, price.id)):
        latest[price.source, price.model, price.tenant, price.plan] = price
    return [price for price in latest.values() if not price.withdrawn]


def _rank(price: PriceRow) -> tuple[int, bool, bool, int, int]:
    whose = 2 if price.tenant is not None else int(price.plan is not None)
    operator = price.source == "operator"
    return whose, price.model is not None, operator, micros(price.since), price.id
