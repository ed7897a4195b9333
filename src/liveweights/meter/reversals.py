"""Corrections: entries that take others back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any, LiteralString, cast, get_args

from liveweights.meter.allotments import CREDIT, key_owner, tenant_owner
from liveweights.meter.budgets import Period
from liveweights.meter.lease_rows import Place, refund
from liveweights.meter.ledger import BEGIN
from liveweights.meter.periods import EVER, find_window
from liveweights.meter.tenants import find_zone
from liveweights.store.database import Connection

PERIODS: tuple[Period, ...] = get_args(Period)
REVERSE: LiteralString = """
insert into ledger (id, at, amount, cost, prompt_tokens, cached_tokens, output_tokens,
    reasoning_tokens, requests, sent_tokens, tenant, model, checkpoint, key, rule, price,
    cost_price, currency, cost_currency, day, reverses, reason)
select 'rev_' || id, clock_timestamp(), -amount, -cost, -prompt_tokens, -cached_tokens,
    -output_tokens, -reasoning_tokens, -requests, sent_tokens, tenant, model, checkpoint, key,
    rule, price, cost_price, currency, cost_currency, %(day)s, id, %(reason)s
from ledger where id = any(%(ids)s) and reverses is null
order by seq
on conflict do nothing
returning reverses
"""

TAKEN = """
select l.tenant, l.key, l.at, l.amount, t.time_zone,
    coalesce(l.at >= (select min(c.at) from tenant_credits c where c.tenant = t.name), false)
from ledger l join tenants t on t.name = l.tenant and t.currency = l.currency
where l.id = any(%s) and l.amount <> 0
"""
"""What entries took of budgets and credit, the latter only since there was any."""


class ReversalError(LookupError):
    """What is to be reversed is not there, or was reversed before; the message says which."""


async def reverse(conn: Connection, ids: Sequence[str], reason: str) -> int:
    """Take back what these answers were charged, and what their upstream asked, and give it back to
    the budgets and credit that it was taken of; all or none, in one transaction. How many that
    were. Raises ReversalError."""
    wanted = set(ids)
    async with conn.transaction():
        cursor = await conn.execute(BEGIN, prepare=False)
        cursor.nextset()
        day = cast(tuple[Any, ...], await cursor.fetchone())[0]
        cursor = await conn.execute(REVERSE, {"ids": sorted(wanted), "day": day, "reason": reason})
        left = wanted - {id for (id,) in await cursor.fetchall()}
        if left:
            cursor = await conn.execute("select id from ledger where id = any(%s)", (sorted(left),))
            known = {id for (id,) in await cursor.fetchall()}
            raise ReversalError(
                f"{min(known)} is reversed already, or is a reversal itself"
                if known
                else f"the ledger has no entry {min(left)!r}"
            )
        await _give_back(conn, sorted(wanted))
    return len(wanted)


async def _give_back(conn: Connection, ids: Sequence[str]) -> None:
    cursor = await conn.execute(TAKEN, (ids,))
    amounts = Counter[Place]()
    for tenant, key, at, amount, time_zone, prepaid in await cursor.fetchall():
        places = list_places(tenant, key, at, find_zone(time_zone), prepaid=prepaid)
        amounts.update(dict.fromkeys(places, amount))
    if amounts:
        await refund(conn, amounts)


def list_places(
    tenant: str, key: str, at: datetime, zone: tzinfo, *, prepaid: bool
) -> Iterator[Place]:
    """The pools that an answer which was asked for at that time may have been paid from."""
    for owner in (tenant_owner(tenant), key_owner(key)):
        for period in PERIODS:
            yield owner, period, find_window(period, zone, at).begins
    if prepaid:
        yield tenant_owner(tenant), CREDIT, EVER
