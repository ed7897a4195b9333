from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.meter.test_ledger import AMOUNT, PRICE, add, record, run
from tests.record.rows import START, make_generation

from liveweights.meter.exports import cloud_event, read_charges, stripe_row
from liveweights.meter.prices import EPOCH
from liveweights.meter.reversals import reverse
from liveweights.store.database import Connection

LATER = datetime(2126, 1, 1, tzinfo=UTC)


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
