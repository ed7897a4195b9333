"""Tenants as rows: who is served and billed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Meta
from psycopg.types.json import Jsonb

from liveweights.meter.budgets import Budgets, check_budgets
from liveweights.meter.price_rows import CurrencyError, check_currency, reserve_prices
from liveweights.meter.settings import RateLimits
from liveweights.store.database import Connection

UTC = "UTC"
TenantName = Annotated[str, Meta(pattern=r"^[^\x00]*$", min_length=1, max_length=128)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
Plan = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=128)]
Note = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=2000)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]


class TenantError(LookupError):
    """There is no such tenant, or it cannot be had so; the message says which and why."""


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def find_zone(name: str) -> ZoneInfo:
    """Raises ValueError for what is no zone of the IANA's database."""
    if name not in _zones():
        raise ValueError(f"{name[:64]!r} is no time zone; say one such as Europe/Berlin or UTC")
    return ZoneInfo(name)


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set about a tenant. ``limits`` are those of each of its keys, None: the
    settings'; ``budgets`` hold for all its keys together. ``plan`` says whose prices it pays."""

    time_zone: Zone = UTC
    currency: Currency = "USD"
    plan: Plan = ""
    note: Note = ""
    limits: RateLimits | None = None
    budgets: Budgets = ()

    def __post_init__(self) -> None:
        find_zone(self.time_zone)
        check_budgets(self.budgets)


class Tenant(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: TenantName
    created_at: datetime
    removed_at: datetime | None = None
    credit: int | None = None
    """All that it has paid in advance, in billionths of its currency; None where it pays after."""

    def __post_init__(self) -> None:
        """A row was checked when it was written, perhaps by another version's rules."""


_COLUMNS = {
    **{name: name for name in ("name", "created_at", "removed_at", "time_zone", "currency")},
    **{name: name for name in ("plan", "note", "limits", "budgets")},
    "credit": "(select sum(nanos)::bigint from tenant_credits c where c.tenant = tenants.name)",
}
_SHOWN = ", ".join(_COLUMNS.values())
_SELECT = f"select {_SHOWN} from tenants"


def _tenant(row: tuple[Any, ...]) -> Tenant:
    return msgspec.convert(dict(zip(_COLUMNS, row, strict=True)), Tenant)


BUDGETED_KEYS = """
select id from api_keys
where tenant = %s and revoked_at is null and coalesce(rights -> 'budgets', '[]') <> '[]'
order by id
"""
"""Ids of a tenant's keys that open something and have a budget."""
Unreadable = Callable[[str, msgspec.ValidationError], None]
"""Told the name of a row that cannot be read, and why."""


async def read_tenants(
    conn: Connection, names: list[str] | None = None, *, unreadable: Unreadable | None = None
) -> list[Tenant]:
    """Those of these names, or all, by name; also those that were removed. ``unreadable`` is told
    of rows that another version or somebody's SQL has written and this one does not know how to
    read; they are left out. Without it they raise msgspec.ValidationError."""
    cursor = await conn.execute(
        f"{_SELECT} where %(names)s::text[] is null or name = any(%(names)s)"
        " order by name".encode(),
        {"names": names},
    )
    found: list[Tenant] = []
    for row in await cursor.fetchall():
        try:
            found.append(_tenant(row))
        except msgspec.ValidationError as error:
            if unreadable is None:
                raise
            unreadable(row[0], error)
    return found


async def read_removed(conn: Connection) -> set[str]:
    """The names of those that were removed."""
    cursor = await conn.execute("select name from tenants where removed_at is not null")
    return {name for (name,) in await cursor.fetchall()}


async def read_tenant(conn: Connection, name: str, *, lock: bool = False) -> Tenant:
    """One that was not removed; with ``lock`` nobody else changes it before the transaction ends.
    Raises TenantError."""
    locking = " for update" if lock else ""
    cursor = await conn.execute(f"{_SELECT} where name = %s{locking}".encode(), (name,))
    row = await cursor.fetchone()
    if row is None:
        raise TenantError(
            f"there is no tenant {name[:128]!r}; `liveweights tenants create` makes one"
        )
    tenant = _tenant(row)
    if tenant.removed_at is not None:
        raise TenantError(f"the tenant {name!r} was removed on {tenant.removed_at:%Y-%m-%d}")
    return tenant


async def create_tenant(conn: Connection, name: str, terms: Terms) -> Tenant:
    """Raises TenantError where the name is taken, or was, CurrencyError where it has budgets in
    another currency than its prices'."""
    values = _values(msgspec.structs.asdict(terms))
    async with conn.transaction():
        await reserve_prices(conn)
        cursor = await conn.execute(
            "insert into tenants (name, time_zone, currency, plan, note, limits, budgets) values"
            " (%(name)s, %(time_zone)s, %(currency)s, %(plan)s, %(note)s, %(limits)s, %(budgets)s)"
            f" on conflict do nothing returning {_SHOWN}".encode(),
            {"name": name, **values},
        )
        row = await cursor.fetchone()
        if row is None:
            raise TenantError(f"there is, or was, a tenant {name!r}; a name is never used again")
        await check_currency(conn, name)
    return _tenant(row)


async def set_tenant(conn: Connection, name: str, changes: Mapping[str, Any]) -> Tenant:
    """Change some of its ``Terms``. Raises TenantError, ValueError for what does not fit them,
    CurrencyError also where amounts that were said before would be in another currency."""
    async with conn.transaction():
        await reserve_prices(conn)
        tenant = await read_tenant(conn, name, lock=True)
        known = {field: getattr(tenant, field) for field in Terms.__struct_fields__}
        terms = msgspec.convert(msgspec.to_builtins({**known, **changes}), Terms)
        if terms.currency != tenant.currency:
            await _check_amounts(conn, tenant, terms.currency, anew="budgets" in changes)
        assignments = ", ".join(f"{field} = %({field})s" for field in Terms.__struct_fields__)
        cursor = await conn.execute(
            f"update tenants set {assignments} where name = %(name)s returning {_SHOWN}".encode(),
            {"name": name, **_values(msgspec.structs.asdict(terms))},
        )
        row = cast(tuple[Any, ...], await cursor.fetchone())
        await check_currency(conn, name)
        return _tenant(row)


async def _check_amounts(conn: Connection, tenant: Tenant, currency: str, *, anew: bool) -> None:
    """None was said of it in the currency that it has: credit, budgets of its keys, and its own but
    where they are said ``anew``. Raises CurrencyError."""
    name, before = tenant.name, tenant.currency
    if tenant.credit is not None:
        raise CurrencyError(
            f"the tenant {name!r} has paid in advance in {before}, which would be as much in "
            f"{currency}: its currency stays; create another tenant for {currency}"
        )
    if tenant.budgets and not anew:
        raise CurrencyError(
            f"the tenant {name!r} has budgets in {before}, which would be as much in {currency}: "
            "say them anew in the same change, or take them away (--budget, --no-budgets)"
        )
    cursor = await conn.execute(BUDGETED_KEYS, (name,))
    if ids := [id for (id,) in await cursor.fetchall()]:
        raise CurrencyError(
            f"keys of the tenant {name!r} have budgets in {before}, which would be as much in "
            f"{currency}: revoke them first, and make others afterwards: {', '.join(ids)}"
        )


async def add_credit(conn: Connection, name: str, nanos: int, why: str) -> Tenant:
    """So much was paid in advance, or below 0, is taken back. From the first time on the tenant is
    answered only until its credit is used up. Raises TenantError, CurrencyError."""
    async with conn.transaction():
        await reserve_prices(conn)
        await read_tenant(conn, name, lock=True)
        await conn.execute(
            "insert into tenant_credits (tenant, nanos, why) values (%s, %s, %s)",
            (name, nanos, why),
        )
        await check_currency(conn, name)
        return await read_tenant(conn, name)


async def remove_tenant(conn: Connection, name: str) -> int:
    """No key of it opens anything from now on; what was recorded and is owed stays. Returns how
    many keys were revoked by that. Raises TenantError."""
    async with conn.transaction():
        await read_tenant(conn, name, lock=True)
        await conn.execute("update tenants set removed_at = now() where name = %s", (name,))
        cursor = await conn.execute(
            "update api_keys set revoked_at = now(), revoked_why = 'the tenant was removed'"
            " where tenant = %s and revoked_at is null",
            (name,),
        )
        return cursor.rowcount


def _values(terms: Mapping[str, Any]) -> dict[str, Any]:
    """``limits`` and ``budgets`` as JSON."""
    limits, budgets = terms["limits"], terms["budgets"]
    return {
        **terms,
        "limits": None if limits is None else Jsonb(msgspec.to_builtins(limits)),
        "budgets": Jsonb(msgspec.to_builtins(budgets)),
    }
