"""What bills that are worked out from logs get wrong, and the right value of each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.record.rows import make_generation
from tests.serve.gateway.stub import USAGE, Stub, scene, streamed

from liveweights.meter.budgets import PERIODS, Budget, Period
from liveweights.meter.charges import assess
from liveweights.meter.invoice import Month
from liveweights.meter.invoice_rows import read_invoice
from liveweights.meter.keys import Client
from liveweights.meter.levies import BillingSettings
from liveweights.meter.limits import LimitReached
from liveweights.meter.periods import find_window
from liveweights.meter.price_book import Held
from liveweights.meter.tenants import find_zone
from liveweights.record.binary import encode
from liveweights.record.generation import Generation
from liveweights.store.database import Connection

from .test_ledger import AMOUNT, PRICE, add, record, rows, run
from .test_limits import ACME, NOON, spend, tenants

HELD = Held(PRICE, None)
BERLIN = find_zone("Europe/Berlin")


def charge(g: Generation) -> int:
    row = encode(g)
    return assess(HELD, row.counts, withheld=row.withheld).amount


def price(prompt: int, output: int) -> int:
    return 500 * prompt + 2000 * output


def test_a_client_that_leaves_is_charged_for_what_was_sampled(database_dsn: str) -> None:
    add(database_dsn, PRICE)
    sampled = {"output_ids": [4], "logprobs": [-0.5], "raw_logprobs": [-1.5], "output": "x"}
    record(database_dsn, make_generation("a", finish_reason="cancelled", **sampled))
    assert rows(database_dsn, "select amount from ledger") == [(price(3, 1),)]


def test_usage_in_the_last_chunk_is_charged() -> None:
    """Behind a gateway, where the upstream counts otherwise than by the words that it sent."""

    async def act() -> None:
        async with scene(Stub(answer=streamed())) as stage, asyncio.timeout(20):
            asked = {"model": "big", "messages": [], "stream": True}
            async with stage.client.post("/v1/chat/completions", json=asked) as response:
                await response.read()
            while not stage.recorder.generations:
                await asyncio.sleep(0.01)
            g = stage.recorder.only()
            assert charge(g) == price(USAGE["prompt_tokens"], USAGE["completion_tokens"])

    asyncio.run(act())


def test_several_choices_are_charged_once_each_and_their_prompt_once(database_dsn: str) -> None:
    add(database_dsn, PRICE)
    first = make_generation("a.0")
    others = [
        make_generation(f"a.{n}", usage={"prompt_tokens": 0, "requests": 0}) for n in (1, 2, 3)
    ]
    record(database_dsn, first, *others)
    record(database_dsn, first, *others)  # a retry
    total = rows(database_dsn, "select sum(amount), sum(requests), count(*) from ledger")
    assert total == [(AMOUNT + 3 * price(0, 2), 1, 4)]


@pytest.mark.parametrize("period", [period for period in PERIODS if period != "all"])
def test_a_budget_begins_again_with_every_window(period: Period) -> None:
    now = [NOON]
    acme = msgspec.structs.replace(ACME, budgets=(Budget(period=period, nanos=100),))

    async def work() -> None:
        limiter = tenants(acme, today=lambda: now[0])
        client = Client("acme", "a")
        for _ in range(14):
            await spend(limiter, client, 100, 100)
            ends = find_window(period, BERLIN, now[0]).ends
            assert ends is not None
            now[0] = ends - timedelta(microseconds=1)
            with pytest.raises(LimitReached):
                await spend(limiter, client, 1, 1)
            now[0] = ends

    asyncio.run(work())


def test_a_month_is_cut_where_the_tenant_is(database_dsn: str) -> None:
    """In Berlin April has begun at 22:00 UTC of March 31."""
    add(database_dsn, PRICE)
    cut = datetime(2026, 3, 31, 22, tzinfo=UTC)
    moments = {"a": cut - timedelta(microseconds=1), "b": cut, "c": cut + timedelta(hours=1)}
    record(
        database_dsn,
        *(make_generation(id, created_at=at, tenant="acme") for id, at in moments.items()),
    )

    async def read(conn: Connection, name: str) -> int:
        month = Month.parse(name, BERLIN)
        invoice = await read_invoice(conn, "acme", month, BillingSettings())
        return sum(one.net_nanos for one in invoice.statements)

    march, april = (
        run(database_dsn, lambda conn, name=name: read(conn, name))
        for name in ("2026-03", "2026-04")
    )
    assert (march, april) == (AMOUNT, 2 * AMOUNT)
