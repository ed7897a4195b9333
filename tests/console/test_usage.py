"""Usage, budgets and invoices on pages: the ledger's own figures, and a tenant's only for it."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
from tests.meter.test_ledger import AMOUNT, record
from tests.record.rows import make_generation

from liveweights.console.usage import sum_days, sum_lines
from liveweights.insight.questions import Charge
from liveweights.meter.budgets import Budget
from liveweights.meter.invoice import Month
from liveweights.meter.invoice_rows import close_invoice
from liveweights.meter.levies import BillingSettings
from liveweights.meter.tenants import Terms, create_tenant, find_zone
from liveweights.store.database import Pool

from .people import BEARER, enter
from .story import on_pages
from .test_pages import check_safe, link_to_more

PRICE = (
    "insert into prices (since, side, model, currency, input, cached_input, output, reasoning,"
    " request, withheld, source) values ('2020-01-01', 'sale', 'live', 'USD', 5e8, 5e8, 2e9, 2e9,"
    " 0, 'free', 'operator')"
)
EVIL = "<b>evil</b>/inc"


def charge(dsn: str) -> None:
    """Three answers of acme now and one two months ago, and one of a tenant with a slash."""
    with psycopg.connect(dsn) as conn:
        conn.execute(PRICE)
    now = datetime.now(UTC)
    old = datetime(now.year - 1, 3, 5, tzinfo=UTC)
    answers = [make_generation(f"g{n}", tenant="acme", key="k", created_at=now) for n in range(3)]
    record(
        dsn,
        *answers,
        make_generation("old", tenant="acme", created_at=old),
        make_generation("evil", tenant=EVIL, created_at=old),
    )


def test_usage_is_the_ledgers_and_a_tenants_own(database_dsn: str) -> None:
    charge(database_dsn)

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers.update(BEARER)
        month = (await client.get("/usage.json")).json()
        assert [
            (one["name"], one["currency"], one["requests"], one["nanos"]) for one in month["lines"]
        ] == [("acme", "USD", 3, 3 * AMOUNT)]
        assert sum(day["nanos"] for day in month["days"]) == 3 * AMOUNT
        year = (await client.get("/usage.json?since=390d")).json()
        assert {one["name"]: one["nanos"] for one in year["lines"]}.get(EVIL) in (AMOUNT, None)
        keys = (await client.get("/usage.json?by=key")).json()
        assert [one["name"] for one in keys["lines"]] == ["k"]
        for query in ("by=cost", "since=soon", "since=2000-01-01", "before=x"):
            assert (await client.get(f"/usage.json?{query}")).status_code == 400, query
        for address in ("/usage", "/usage?by=model", "/budgets", "/invoices"):
            page = await client.get(address)
            assert page.status_code == 200
            check_safe(page)
        del client.headers["authorization"]
        await enter(client, pool, "eve", "viewer", EVIL)
        assert (await client.get("/usage.json")).json()["lines"] == []
        assert (await client.get("/usage.json?by=tenant")).status_code == 400
        await enter(client, pool, "ada", "viewer", "acme")
        own = (await client.get("/usage.json")).json()
        assert (own["by"], [one["nanos"] for one in own["lines"]]) == ("model", [3 * AMOUNT])
        assert "cost" not in (await client.get("/usage.json")).text  # the upstream's is not theirs

    on_pages(database_dsn, test, answers=3)


def test_more_of_the_usage_is_of_the_same_days(database_dsn: str) -> None:
    now = datetime.now(UTC)
    old = datetime(now.year - 1, 3, 5, tzinfo=UTC)
    past = [make_generation(f"p{n}", tenant=f"t{n}", created_at=old) for n in range(30)]
    with psycopg.connect(database_dsn) as conn:
        conn.execute(PRICE)
    record(database_dsn, *past, make_generation("now", tenant="late", created_at=now))

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers.update(BEARER)
        asked = {"since": f"{old.year}-03-01", "until": f"{old.year}-04-01"}
        page = await client.get("/usage", params=asked)
        assert f'name="until" value="{asked["until"]}"' in page.text
        more = (await client.get(link_to_more(page))).text
        assert "late" not in page.text + more
        assert all(f'dir="auto">t{n}</th>' in page.text + more for n in range(30))

    on_pages(database_dsn, test, answers=3)


def test_budgets_are_those_of_ones_own_keys_and_tenant(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        async with pool.connection() as conn:
            for name in ("acme", EVIL):
                budgets = (Budget(period="all", nanos=10**9), Budget(period="day", nanos=10**10))
                await create_tenant(conn, name, Terms(budgets=budgets))
            await conn.execute(
                "insert into allowances (owner, name, begins, most, rest, used)"
                " values ('tenant acme', 'all', '1970-01-01', 1000000000, 0, 1000000000)"
            )
        seen = (await client.get("/budgets.json", headers=BEARER)).json()["budgets"]
        assert [(one["tenant"], one["period"], one["used"]) for one in seen[:2]] == [
            ("acme", "all", 10**9),
            (EVIL, "all", 0),
        ]
        assert len(seen) == 4
        page = await client.get("/budgets", headers=BEARER)
        check_safe(page)
        assert "100% spent" in page.text
        await enter(client, pool, "eve", "viewer", EVIL)
        own = (await client.get("/budgets.json")).json()["budgets"]
        assert {one["tenant"] for one in own} == {EVIL}

    on_pages(database_dsn, test, answers=3)


def test_an_invoice_in_every_form_for_those_whom_it_is_about(database_dsn: str) -> None:
    charge(database_dsn)
    year = datetime.now(UTC).year - 1

    async def close() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            month = Month.parse(f"{year}-03", find_zone("UTC"))
            for tenant in ("acme", EVIL):
                await close_invoice(conn, tenant, month, BillingSettings(seller="We <u>sell</u>"))

    asyncio.run(close())

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers.update(BEARER)
        listed = (await client.get("/invoices.json")).json()
        assert [(one["number"], one["tenant"]) for one in listed["invoices"]] == [
            (2, EVIL),
            (1, "acme"),
        ]
        place = f"/invoices/acme/{year}-03"
        one: dict[str, Any] = (await client.get(f"{place}.json")).json()
        assert (one["invoice"]["number"], one["title"]) == (1, f"Invoice no. 1: {year}-03")
        assert one["invoice"]["statements"][0]["net_nanos"] == AMOUNT
        page = await client.get(place)
        check_safe(page)
        assert "We &lt;u&gt;sell" in page.text
        sheet = await client.get(f"{place}.csv")
        rows = list(csv.DictReader(sheet.text.splitlines()))
        assert [row["kind"] for row in rows] == ["usage", "net", "total"]
        assert sheet.headers["content-type"].startswith("text/csv")
        file = await client.get(f"{place}.pdf")
        assert file.content.startswith(b"%PDF")
        evil = await client.get("/invoices/%3Cb%3Eevil%3C/b%3E/inc/" + f"{year}-03")
        check_safe(evil)
        assert "&lt;b&gt;evil" in evil.text
        now = datetime.now(UTC)
        draft = (await client.get(f"/invoices/acme/{now:%Y-%m}.json")).json()
        assert draft["invoice"]["number"] is None
        assert (await client.get("/invoices.json?tenant=acme")).json()["open"] == f"{now:%Y-%m}"
        for wrong in ("acme", "acme/2026", "acme/May", "/2026-10"):
            assert (await client.get(f"/invoices/{wrong}")).status_code == 404, wrong
        del client.headers["authorization"]
        await enter(client, pool, "eve", "viewer", EVIL)
        for form in ("", ".json", ".csv", ".pdf"):
            assert (await client.get(place + form)).status_code == 404
        own = (await client.get("/invoices.json?tenant=acme")).json()
        assert [one["tenant"] for one in own["invoices"]] == [EVIL]
        assert (own["tenant"], own["tenants"]) == (EVIL, [])

    on_pages(database_dsn, test, answers=3)


def make_charge(**changes: Any) -> Charge:
    values: dict[str, Any] = {
        "bucket": 0,
        "tenant": "a",
        "model": None,
        "key": None,
        "currency": "USD",
        "requests": 1,
        "prompt_tokens": 2,
        "cached_tokens": 1,
        "output_tokens": 3,
        "nanos": 5,
    }
    return Charge(**values | changes)


def test_charges_are_added_up_by_name_and_currency() -> None:
    found = [
        make_charge(),
        make_charge(bucket=2, nanos=7),
        make_charge(currency="EUR", nanos=1),
        make_charge(tenant="b", currency="XXX", nanos=0),
    ]
    lines = sum_lines(found, "tenant")
    assert [(one.name, one.currency, one.nanos, one.requests) for one in lines] == [
        ("a", "USD", 12, 2),
        ("a", "EUR", 1, 1),
        ("b", "", 0, 1),
    ]
    days = sum_days(found, datetime(2026, 3, 1, tzinfo=UTC))
    assert [(day.at.day, day.currency, day.nanos) for day in days] == [
        (1, "", 0),
        (1, "EUR", 1),
        (1, "USD", 5),
        (3, "USD", 7),
    ]
    assert sum(one.nanos for one in lines) == sum(day.nanos for day in days)
