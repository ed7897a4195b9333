"""Invoices from the ledger, and months that are closed: as they were billed, for good.

An entry is on the first invoice, in the order of months, whose month ends after the entry's time
and which was closed after the entry was booked. So what is booked late for a closed month is on
the next invoice, and every entry is on just one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString, cast

import msgspec

from liveweights.meter.invoice import Charges, Invoice, Month, make_statements
from liveweights.meter.levies import BillingSettings
from liveweights.meter.money import NO_CURRENCY
from liveweights.meter.price_rows import read_prices
from liveweights.meter.tenants import find_zone, read_tenants
from liveweights.store.database import Connection

_DISTANT = datetime(1, 1, 2, tzinfo=UTC)
_OPEN = 2**63 - 1

READ: LiteralString = """
select model, origin, licence, currency, price, rule, reverses is not null, count(*)::bigint,
    sum(billed_requests)::bigint, sum(billed_prompt_tokens)::bigint,
    sum(billed_cached_tokens)::bigint, sum(billed_output_tokens)::bigint,
    sum(billed_reasoning_tokens)::bigint, sum(nanos)::bigint
from charges
where tenant = %(tenant)s and at < %(until)s and seq <= %(cut)s and at >= %(since)s
    and (at >= %(before)s or seq > %(before_cut)s)
group by 1, 2, 3, 4, 5, 6, 7
"""
EARLIER: LiteralString = f"""
select min(at) from ledger
where tenant = %(tenant)s and at < %(since)s and (at >= %(before)s or seq > %(before_cut)s)
    and currency <> '{NO_CURRENCY}'
"""
"""When the first was that could be on an invoice: what has no price is on none."""


class InvoiceError(ValueError):
    """A month that cannot be closed, or is not there; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Closed:
    """How far a tenant's last closed month reaches, before another one."""

    month: date | None
    until: datetime
    cut: int


async def read_invoice(
    conn: Connection, tenant: str, month: Month, settings: BillingSettings
) -> Invoice:
    """As it was closed; of a month that is open, what it would be now."""
    stored = await _find(conn, tenant, month)
    if stored is not None:
        return stored
    return await _draw(conn, tenant, month, settings, await _before(conn, tenant, month), _OPEN)


async def find_month(conn: Connection, tenant: str, text: str, settings: BillingSettings) -> Month:
    """The month of ``2026-10`` in the tenant's time zone; without a row of it, the settings'. Of an
    empty ``text`` the one that is now. Raises ValueError for what is no month."""
    known = await read_tenants(conn, [tenant])
    zone = find_zone(known[0].time_zone if known else settings.time_zone)
    return Month.parse(text or f"{datetime.now(zone):%Y-%m}", zone)


class ClosedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """A closed invoice in a list: what is owed by currency, in its smallest amounts."""

    number: int
    tenant: str
    month: str
    closed_at: datetime
    totals: dict[str, int]


async def list_closed(
    conn: Connection, count: int, *, tenant: str | None = None, before: int | None = None
) -> list[ClosedMonth]:
    """At most ``count`` closed invoices, the newest first; ``before`` is the number of the one that
    they follow."""
    cursor = await conn.execute(
        "select number, tenant, closed_at, content from invoices"
        " where (%(tenant)s::text is null or tenant = %(tenant)s)"
        " and (%(before)s::bigint is null or number < %(before)s)"
        " order by number desc limit %(count)s",
        {"tenant": tenant, "before": before, "count": count},
    )
    found: list[ClosedMonth] = []
    for number, name, closed_at, content in await cursor.fetchall():
        invoice = msgspec.json.decode(content, type=Invoice)
        totals = {one.currency: one.total for one in invoice.statements}
        found.append(
            ClosedMonth(
                number=number,
                tenant=name,
                month=invoice.month,
                closed_at=closed_at,
                totals=totals,
            )
        )
    return found


async def close_invoice(
    conn: Connection, tenant: str, month: Month, settings: BillingSettings
) -> Invoice:
    """Freeze a month that is over; one that is closed stays as it is. ``conn`` is outside any
    transaction. Raises InvoiceError."""
    async with conn.transaction():
        # Nobody books meanwhile, so that everything up to the cut is there.
        await conn.execute("lock table ledger in share mode")
        await conn.execute("lock table invoices in share row exclusive mode")
        stored = await _find(conn, tenant, month)
        if stored is not None:
            return stored
        before = await _before(conn, tenant, month)
        await _check(conn, tenant, month, before)
        cursor = await conn.execute("select coalesce(max(seq), 0) from ledger")
        (cut,) = cast(tuple[int], await cursor.fetchone())
        invoice = await _draw(conn, tenant, month, settings, before, cut)
        cursor = await conn.execute(
            "insert into invoices (tenant, month, until, cut, content)"
            " values (%s, %s, %s, %s, %s) returning number, closed_at",
            (tenant, month.first, month.until, cut, msgspec.json.encode(invoice).decode()),
        )
        number, closed_at = cast(tuple[int, datetime], await cursor.fetchone())
    return msgspec.structs.replace(invoice, number=number, closed_at=closed_at)


async def find_broken_invoices(conn: Connection) -> list[int]:
    """Numbers of closed invoices whose lines are not what the ledger says."""
    cursor = await conn.execute(
        "select number, tenant, month, until, cut, content from invoices order by tenant, month"
    )
    prices = {price.id: price for price in await read_prices(conn)}
    broken: list[int] = []
    for number, tenant, first, until, cut, content in await cursor.fetchall():
        invoice = msgspec.json.decode(content, type=Invoice)
        month = Month(first, find_zone(invoice.time_zone))
        before = await _before(conn, tenant, month)
        charges = await _read(conn, tenant, _DISTANT, until, before, cut)
        statements = make_statements(charges, prices)
        lines = [(one.currency, one.lines, one.net) for one in statements]
        if lines != [(one.currency, one.lines, one.net) for one in invoice.statements]:
            broken.append(number)
    return sorted(broken)


async def _find(conn: Connection, tenant: str, month: Month) -> Invoice | None:
    cursor = await conn.execute(
        "select number, closed_at, content from invoices where tenant = %s and month = %s",
        (tenant, month.first),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    invoice = msgspec.json.decode(row[2], type=Invoice)
    return msgspec.structs.replace(invoice, number=row[0], closed_at=row[1])


async def _before(conn: Connection, tenant: str, month: Month) -> _Closed:
    """The last month that is closed, of those before ``month``."""
    cursor = await conn.execute(
        "select month, until, cut from invoices where tenant = %s and month < %s"
        " order by month desc limit 1",
        (tenant, month.first),
    )
    row = await cursor.fetchone()
    return _Closed(None, _DISTANT, 0) if row is None else _Closed(*row)


async def _check(conn: Connection, tenant: str, month: Month, before: _Closed) -> None:
    cursor = await conn.execute("select clock_timestamp()")
    (now,) = cast(tuple[datetime], await cursor.fetchone())
    if now < month.until:
        raise InvoiceError(
            f"{month} is not over before {month.until:%Y-%m-%d %H:%M} UTC; without --close it is "
            "shown as it stands"
        )
    cursor = await conn.execute(
        "select min(month) from invoices where tenant = %s and month > %s", (tenant, month.first)
    )
    (later,) = cast(tuple[Any], await cursor.fetchone())
    if later is not None:
        raise InvoiceError(f"{later:%Y-%m} is closed already, and has what {month} would have")
    if before.month is not None and _after(before.month) == month.first:
        return
    cursor = await conn.execute(EARLIER, _bounds(tenant, month.since, before))
    (at,) = cast(tuple[datetime | None], await cursor.fetchone())
    if at is not None:
        earlier = at.astimezone(month.zone) if before.month is None else _after(before.month)
        raise InvoiceError(
            f"{tenant!r} has charges from before {month} that are on no invoice; close "
            f"{earlier:%Y-%m} first"
        )


def _after(first: date) -> date:
    """The first day of the month after that of ``first``."""
    return (first + timedelta(days=31)).replace(day=1)


async def _draw(
    conn: Connection,
    tenant: str,
    month: Month,
    settings: BillingSettings,
    before: _Closed,
    cut: int,
) -> Invoice:
    follows = before.month is not None and _after(before.month) == month.first
    since = _DISTANT if follows else month.since
    charges = await _read(conn, tenant, since, month.until, before, cut)
    prices = {price.id: price for price in await read_prices(conn)}
    return Invoice(
        number=None,
        tenant=tenant,
        month=str(month),
        time_zone=str(month.zone),
        since=month.since,
        until=month.until,
        closed_at=None,
        seller=settings.seller,
        statements=make_statements(
            charges, prices, settings.levies, tenant=tenant, month=month.first
        ),
    )


async def _read(
    conn: Connection, tenant: str, since: datetime, until: datetime, before: _Closed, cut: int
) -> list[Charges]:
    values = {**_bounds(tenant, since, before), "until": until, "cut": cut}
    cursor = await conn.execute(READ, values)
    names = ("model", "origin", "licence", "currency", "price", "rule", "reversal", "answers")
    counts = ("requests", "prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    return [
        Charges(**dict(zip((*names, *counts, "nanos"), row, strict=True)))
        for row in await cursor.fetchall()
    ]


def _bounds(tenant: str, since: datetime, before: _Closed) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "since": since,
        "before": before.until,
        "before_cut": before.cut,
    }
