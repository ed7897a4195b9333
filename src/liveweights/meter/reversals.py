"""Corrections: entries that take others back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, cast

from liveweights.meter.ledger import BEGIN
from liveweights.store.database import Connection

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


class ReversalError(LookupError):
    """What is to be reversed is not there, or was reversed before; the message says which."""


async def reverse(conn: Connection, ids: Sequence[str], reason: str) -> int:
    """Take back what these answers were charged, and what their upstream asked; all or none, in
    one transaction. How many that were. Raises ReversalError."""
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
    return len(wanted)
