"""The ledger for other billing systems: one event per answer, which may be sent again.

CloudEvents as OpenMeter takes them (https://openmeter.io/docs/metering/events/usage-events):
``source`` and ``id`` together make an event count once. Files of meter events as Stripe takes them
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-in-bulk-dashboard):
``identifier`` makes one count once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, cast

from liveweights.meter.money import show_money
from liveweights.store.database import Connection

SOURCE, TYPE = "liveweights", "liveweights.charge"
STRIPE = (
    "identifier",
    "timestamp",
    "event_name",
    "payload_stripe_customer_id",
    "payload_value",
)
"""The columns of a file for Stripe."""
METERS = ("tokens", "input-tokens", "output-tokens", "requests")
"""What a meter can count."""
PIECE = 2000
PAUSE, PATIENCE = 0.02, 60.0
"""Seconds between two looks whether bookings have ended, and in all."""

_COLUMNS: tuple[LiteralString, ...] = (
    *("id", "at", "tenant", "model", "key", "rule", "currency", "nanos", "reverses"),
    *("billed_requests", "billed_prompt_tokens", "billed_cached_tokens", "billed_output_tokens"),
    "billed_reasoning_tokens",
)
READ: LiteralString = f"""
select {", ".join(_COLUMNS)}
from charges
where rule <> 'imported' and (
        booked_at >= %(since)s and booked_at < %(until)s
        or booked_at is null and at >= %(since)s and at < %(until)s
    ) and (%(tenant)s::text is null or tenant = %(tenant)s)
order by seq
"""


# Whoever books holds the table from before the time of booking to the end of its transaction.
BOOKING = """
select virtualtransaction from pg_locks
where locktype = 'relation' and relation = 'ledger'::regclass and mode = 'RowExclusiveLock'
    and granted and database = (select oid from pg_database where datname = current_database())
"""


class ExportError(ValueError):
    """What was booked until a time cannot be said; the message says why and what to do."""


async def settle_until(conn: Connection, until: datetime | None) -> datetime:
    """``until``, or now: everything that is booked before is there when this returns. Waits for
    bookings that are under way, whatever their transactions have to wait for.

    Raises ExportError for a time that is to come, or after ``PATIENCE`` seconds.
    """
    cursor = await conn.execute("select clock_timestamp()")
    (now,) = cast(tuple[datetime], await cursor.fetchone())
    if until is not None and until > now:
        raise ExportError(
            f"{until:%Y-%m-%d %H:%M:%S%z} is still to come: what is booked until then would be in "
            "no export; leave --until out, or say a time that is over"
        )
    before = await _list_booking(conn)
    for _ in range(round(PATIENCE / PAUSE)):
        if not before:
            return now if until is None else until
        await asyncio.sleep(PAUSE)
        before &= await _list_booking(conn)
    raise ExportError(
        "somebody has been writing to the ledger for all of a minute; look for a transaction that "
        "hangs, and try again"
    )


async def _list_booking(conn: Connection) -> set[str]:
    cursor = await conn.execute(BOOKING)
    return {name for (name,) in await cursor.fetchall()}


async def read_charges(
    conn: Connection, since: datetime, until: datetime, tenant: str | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Every charge that was booked in that time, in the order of booking; in a transaction of the
    caller's. With ``until`` from ``settle_until``, and from there the next time, each entry comes
    once. Of entries from before the time of booking was kept, it is when the answer was asked
    for."""
    values = {"since": since, "until": until, "tenant": tenant}
    async with conn.cursor(name="charges") as cursor:
        cursor.itersize = PIECE
        await cursor.execute(READ, values)
        async for row in cursor:
            yield dict(zip(_COLUMNS, row, strict=True))


def cloud_event(charge: Mapping[str, Any]) -> dict[str, Any]:
    """A CloudEvent 1.0 whose id is the answer's; of a correction its own, with negative numbers."""
    return {
        "specversion": "1.0",
        "id": charge["id"],
        "source": SOURCE,
        "type": TYPE,
        "subject": charge["tenant"],
        "time": charge["at"].isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "model": charge["model"],
            "api_key": charge["key"],
            "rule": charge["rule"],
            "corrects": charge["reverses"],
            "requests": charge["billed_requests"],
            "input_tokens": charge["billed_prompt_tokens"],
            "cached_input_tokens": charge["billed_cached_tokens"],
            "output_tokens": charge["billed_output_tokens"],
            "reasoning_tokens": charge["billed_reasoning_tokens"],
            "currency": charge["currency"],
            "amount": show_money(charge["nanos"]),
        },
    }


def stripe_row(
    charge: Mapping[str, Any], event_name: str, meter: str, customers: Mapping[str, str]
) -> Sequence[object] | None:
    """A row of ``STRIPE``; None for what a meter does not take: nothing, or less than nothing.
    ``customers`` are Stripe's ids by tenant; a tenant without one is named itself."""
    prompt, output = charge["billed_prompt_tokens"], charge["billed_output_tokens"]
    value = {
        "tokens": prompt + output,
        "input-tokens": prompt,
        "output-tokens": output,
        "requests": charge["billed_requests"],
    }[meter]
    if value <= 0:
        return None
    customer = customers.get(charge["tenant"], charge["tenant"])
    return charge["id"], int(charge["at"].timestamp()), event_name, customer, value
