from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.meter.test_ledger import AMOUNT, PRICE, add, record, run, tamper
from tests.record.rows import START, make_generation

from liveweights.meter import exports
from liveweights.meter.exports import (
    ExportError,
    cloud_event,
    read_charges,
    settle_until,
    stripe_row,
)
from liveweights.meter.ledger import BEGIN
from liveweights.meter.prices import EPOCH
from liveweights.meter.reversals import reverse
from liveweights.store.database import Connection

LATER = datetime(2126, 1, 1, tzinfo=UTC)


def export_on(dsn: str, since: datetime) -> tuple[list[str], datetime]:
    """The ids of what was booked since then, and until when that was."""

    async def read(conn: Connection) -> tuple[list[str], datetime]:
        until = await settle_until(conn, None)
        return [one["id"] async for one in read_charges(conn, since, until)], until

    return run(dsn, read)


def export(dsn: str, tenant: str | None = None) -> list[dict[str, Any]]:
    async def read(conn: Connection) -> list[dict[str, Any]]:
        return [one async for one in read_charges(conn, START, LATER, tenant)]

    return run(dsn, read)


def test_every_charge_is_one_event_with_its_answers_id(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    silent = make_generation("b", output="", selection=-0.5)
    record(database_dsn, make_generation("a", tenant="shop"), silent)
    run(database_dsn, lambda conn: reverse(conn, ["a"], "why"))
    events = [cloud_event(one) for one in export(database_dsn)]
    assert [(one["id"], one["subject"], one["source"]) for one in events] == [
        ("a", "shop", "liveweights"),
        ("b", "default", "liveweights"),
        ("rev_a", "shop", "liveweights"),
    ]
    data = [one["data"] for one in events]
    assert [one["input_tokens"] for one in data] == [3, 0, -3]
    assert [one["amount"] for one in data] == ["0.0000055", "0.00", "-0.0000055"]
    assert (data[0]["output_tokens"], data[1]["rule"], data[2]["corrects"]) == (2, "withheld", "a")
    assert AMOUNT == 5500
    assert datetime.fromisoformat(events[0]["time"]).tzinfo is not None
    assert [one["id"] for one in export(database_dsn, "default")] == ["b"]


def test_a_meter_takes_what_was_billed(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    record(database_dsn, make_generation("a"), make_generation("b", output="", selection=-0.5))
    (whole, free) = export(database_dsn)
    at = int(whole["at"].timestamp())
    row = stripe_row(whole, "tokens used", "tokens", {"default": "cus_1"})
    assert row == ("a", at, "tokens used", "cus_1", 5)
    assert stripe_row(whole, "m", "output-tokens", {}) == ("a", at, "m", "default", 2)
    assert stripe_row(whole, "m", "requests", {}) == ("a", at, "m", "default", 1)
    assert stripe_row(free, "m", "tokens", {}) is None


def test_exports_one_after_the_other_have_each_charge_once(database_dsn: str) -> None:
    """Answers are booked in another order than they were asked for."""
    add(database_dsn, replace(PRICE, since=EPOCH))
    days = [START + timedelta(days=number) for number in range(4)]
    found: list[list[str]] = []
    since = START
    for number in (2, 0, 3, 1):
        record(database_dsn, make_generation(f"asked-{number}", created_at=days[number]))
        ids, since = export_on(database_dsn, since)
        found.append(ids)
    assert found == [[f"asked-{number}"] for number in (2, 0, 3, 1)]
    run(database_dsn, lambda conn: reverse(conn, ["asked-0"], "why"))
    assert export_on(database_dsn, since)[0] == ["rev_asked-0"]


def test_an_export_waits_for_who_is_booking(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        connect = psycopg.AsyncConnection.connect
        async with await connect(database_dsn) as writer, await connect(database_dsn) as reader:
            await reader.set_read_only(True)
            await writer.execute(BEGIN, prepare=False)
            monkeypatch.setattr(exports, "PATIENCE", 0.1)
            with pytest.raises(ExportError, match="look for a transaction that hangs"):
                await settle_until(reader, None)
            monkeypatch.setattr(exports, "PATIENCE", 60.0)
            waiting = asyncio.create_task(settle_until(reader, None))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await writer.execute(
                "insert into ledger (id, at, amount, cost, prompt_tokens, cached_tokens,"
                " output_tokens, reasoning_tokens, requests, tenant, model, checkpoint, key, rule,"
                " currency, cost_currency, day)"
                " values ('a', now(), 0, 0, 0, 0, 0, 0, 0, '', '', '', '', 'sampled', 'USD', 'USD',"
                " now()::date)"
            )
            await writer.commit()
            await waiting
            with pytest.raises(ExportError, match="still to come"):
                await settle_until(reader, LATER)

    asyncio.run(main())


def test_of_older_entries_it_is_when_they_were_asked_for(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"))
    tamper(database_dsn, "update ledger set booked_at = null")
    assert export_on(database_dsn, START)[0] == ["a"]
    assert export_on(database_dsn, START + timedelta(days=1))[0] == []
