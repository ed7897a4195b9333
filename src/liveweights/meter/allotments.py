"""Which limits and budgets hold for a key now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from liveweights.meter.budgets import Budget
from liveweights.meter.holdings import Holding
from liveweights.meter.keys import Client
from liveweights.meter.leases import Kind, Limit
from liveweights.meter.periods import EVER, find_window
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import Tenant, find_zone

CREDIT: Final = "credit"
NO_CURRENCY = ""
KINDS: dict[str, Kind] = {
    "requests": "rate",
    "tokens": "rate",
    "feedback": "rate",
    "reads": "rate",
    "concurrency": "slots",
}


@dataclass(frozen=True, slots=True)
class Money:
    """A budget's holding, and when its window ends."""

    holding: Holding
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Allotment:
    """``limits`` per minute and at once, ``money`` with the end of each window, and the first time
    at which one of them ends."""

    limits: list[Limit]
    money: list[tuple[Limit, datetime | None]]
    currency: str
    ends: datetime | None


def key_owner(key: str) -> str:
    """Under which a key's allowances are kept."""
    return f"key {key}"


def tenant_owner(tenant: str) -> str:
    return f"tenant {tenant}"


def model_owner(model: str) -> str:
    """Under which a model's own budgets are kept."""
    return f"model {model}"


def is_model_owner(owner: str) -> bool:
    return owner.startswith(model_owner(""))


def list_model_budgets(
    model: str, budgets: tuple[Budget, ...], now: datetime
) -> list[tuple[Limit, datetime | None]]:
    """With the end of each window, in the calendar of UTC."""
    return _list_budgets(model_owner(model), budgets, find_zone("UTC"), now)


def list_limits(
    client: Client, tenant: Tenant | None, default: RateLimits, now: datetime
) -> Allotment:
    """A key's own limits go before its tenant's, these before ``default``. Budgets of the key and
    of its tenant hold beside each other, in the tenant's calendar; without a tenant's row it is
    that of UTC."""
    key = key_owner(client.key)
    own = client.rights.limits or (tenant and tenant.limits) or default
    limits = [
        Limit(key, name, EVER, KINDS[name], most)
        for name, most in (
            ("requests", own.requests_per_minute),
            ("tokens", own.tokens_per_minute),
            ("feedback", own.feedback_per_minute),
            ("reads", own.reads_per_minute),
            ("concurrency", own.concurrency),
        )
        if most
    ]
    zone = find_zone(tenant.time_zone if tenant else "UTC")
    money = _list_budgets(key, client.rights.budgets, zone, now)
    if tenant is not None:
        owner = tenant_owner(tenant.name)
        money += _list_budgets(owner, tenant.budgets, zone, now)
        if tenant.credit is not None:
            money.append((Limit(owner, CREDIT, EVER, "money", max(0, tenant.credit)), None))
    ends = min((end for _, end in money if end is not None), default=None)
    return Allotment(limits, money, tenant.currency if tenant else NO_CURRENCY, ends)


def _list_budgets(
    owner: str, budgets: tuple[Budget, ...], zone: tzinfo, now: datetime
) -> list[tuple[Limit, datetime | None]]:
    found: list[tuple[Limit, datetime | None]] = []
    for budget in budgets:
        window = find_window(budget.period, zone, now)
        limit = Limit(owner, budget.period, window.begins, "money", budget.nanos)
        found.append((limit, window.ends))
    return found
