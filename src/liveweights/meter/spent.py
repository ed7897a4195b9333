"""How much of each budget is spent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

import msgspec

from liveweights.meter.allotments import CREDIT, key_owner, tenant_owner
from liveweights.meter.budgets import Budget, Period
from liveweights.meter.key_rows import KeyRow, read_keys
from liveweights.meter.periods import EVER, Window, find_window
from liveweights.meter.tenants import Tenant, find_zone, read_tenants
from liveweights.store.database import Connection

USED = """
select owner, name, begins, used from allowances
where (owner, name, begins) in (
    select * from unnest(%(owners)s::text[], %(names)s::text[], %(begins)s::timestamptz[]))
"""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """A budget of a tenant, or of one key of it (its id), or what a tenant has paid in advance
    (``credit``). ``most`` and ``used`` are billionths of ``currency``; what runs now is counted a
    few seconds later. ``ends`` of None: it does not begin anew."""

    tenant: str
    key: str | None
    key_name: str
    period: Period | Literal["credit"]
    currency: str
    most: int
    used: int
    begins: datetime
    ends: datetime | None

    @property
    def share(self) -> float:
        """Of it that is used; above 1 where more was used than there was."""
        return self.used / self.most if self.most else 1.0


async def read_spent(conn: Connection, now: datetime, tenant: str | None = None) -> list[Spent]:
    """The budgets of all tenants and of their keys that open something, or those of one; those that
    are nearest to their end first."""
    tenants = {
        one.name: one
        for one in await read_tenants(conn, None if tenant is None else [tenant])
        if one.removed_at is None
    }
    keys = await read_keys(conn, tenant=tenant, ended=False)
    budgets = [*_of_tenants(tenants.values(), now), *_of_keys(keys, tenants, now)]
    places = [(_owner(one), one.period, one.begins) for one in budgets]
    cursor = await conn.execute(
        USED,
        {
            "owners": [owner for owner, _, _ in places],
            "names": [name for _, name, _ in places],
            "begins": [begins for _, _, begins in places],
        },
    )
    used = {(owner, name, begins): count async for owner, name, begins, count in cursor}
    found = [
        msgspec.structs.replace(one, used=used.get(place, 0))
        for one, place in zip(budgets, places, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.share, one.tenant, one.key or "", one.period))


def _of_tenants(tenants: Iterable[Tenant], now: datetime) -> Iterator[Spent]:
    for tenant in tenants:
        for budget in tenant.budgets:
            yield _make(tenant, None, budget, now)
        if tenant.credit is not None:
            window = Window(EVER, None)
            yield _fill(tenant, None, CREDIT, max(0, tenant.credit), window)


def _of_keys(keys: Iterable[KeyRow], tenants: dict[str, Tenant], now: datetime) -> Iterator[Spent]:
    for key in keys:
        if (tenant := tenants.get(key.tenant)) is not None:
            for budget in key.rights.budgets:
                yield _make(tenant, key, budget, now)


def _make(tenant: Tenant, key: KeyRow | None, budget: Budget, now: datetime) -> Spent:
    window = find_window(budget.period, find_zone(tenant.time_zone), now)
    return _fill(tenant, key, budget.period, budget.nanos, window)


def _fill(
    tenant: Tenant,
    key: KeyRow | None,
    period: Period | Literal["credit"],
    most: int,
    window: Window,
) -> Spent:
    return Spent(
        tenant=tenant.name,
        key=key and key.id,
        key_name=key.name if key else "",
        period=period,
        currency=tenant.currency,
        most=most,
        used=0,
        begins=window.begins,
        ends=window.ends,
    )


def _owner(one: Spent) -> str:
    return tenant_owner(one.tenant) if one.key is None else key_owner(one.key)
