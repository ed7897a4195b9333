"""What the settings and the catalogue say of money, as the ledger has it."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from liveweights.app.billing import (
    PricesRefused,
    cost_from,
    read_all_known,
    settle_billing,
    settle_costs,
)
from liveweights.app.profiles import Known
from liveweights.catalog.prices import ListedPrice
from liveweights.config import Config
from liveweights.meter.budgets import Budget
from liveweights.meter.price_rows import add_price, read_book
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.tenants import Terms, create_tenant, set_tenant
from liveweights.release import models as rows

SETTINGS = {
    "models": {
        "code": {},
        "big": {"upstream": "https://api.openai.com/v1", "upstream_model": "gpt-4o-mini"},
        "nowhere": {"upstream": "http://127.0.0.1:1"},
    },
    "prices": {"code": {"input": 0.15, "output": 0.6}},
}


async def start(dsn: str, config: Config, home: Path) -> dict[str, Known]:
    known = await read_all_known(dsn, config, home)
    await settle_billing(dsn, config, known)
    return known


def ask(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode()).fetchall()


def test_a_service_knows_its_prices_costs_and_origins(database_dsn: str, tmp_path: Path) -> None:
    config = msgspec.convert(SETTINGS, Config)
    for _ in range(2):  # a second start says nothing new
        known = asyncio.run(start(database_dsn, config, tmp_path))
        assert known.keys() == {"code", "big", "nowhere"}
    with psycopg.connect(database_dsn) as conn:
        prices = conn.execute(
            "select side, model, source, input > 0, output > 0 from prices order by side"
        ).fetchall()
        sold = conn.execute("select model, origin from sold_models order by 1").fetchall()
    assert prices == [
        ("cost", "big", "list", True, True),
        ("sale", "code", "settings", True, True),
    ]
    assert [model for model, _ in sold] == ["big", "code", "nowhere"]
    assert dict(sold)["nowhere"] == "unknown"
    assert dict(sold)["code"] not in ("", "unknown")


def test_a_model_that_is_free_by_the_settings_is_free(database_dsn: str, tmp_path: Path) -> None:
    """Beside a price of all models, which is the operator's."""
    free = msgspec.convert({"models": {"small": {}}, "prices": {"small": {}}}, Config)
    everything = PriceRow(since=EPOCH, input=10**9, output=3 * 10**9)

    async def play() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            async with conn.transaction():
                await add_price(conn, everything, lead=timedelta(0), default=True)
            for _ in range(2):
                await start(database_dsn, free, tmp_path)
            book = await read_book(conn)
            now = datetime.now(UTC)
            held = [book.find("acme", model, now).price for model in ("small", "other")]
            assert [price and (price.model, price.input) for price in held] == [
                *(("small", 0), (None, 10**9))
            ]
            assert ask(database_dsn, "select count(*) from prices where side = 'sale'") == [(2,)]

    asyncio.run(play())


HELD = "select side, model from prices where not withdrawn order by id"
GONE = "select side, model from prices where withdrawn order by id"


def test_who_says_nothing_of_prices_or_of_a_model_withdraws_nothing(
    database_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second instance, whose settings file has neither, and a model that comes to it."""
    caplog.set_level("INFO")
    asyncio.run(start(database_dsn, msgspec.convert(SETTINGS, Config), tmp_path))
    asyncio.run(start(database_dsn, msgspec.convert({"alias": "code"}, Config), tmp_path))
    assert "those of before hold on, of code" in caplog.text
    far = {"upstream": "https://api.openai.com/v1", "upstream_model": "gpt-4o"}
    added = msgspec.convert({"models": {"far": far}}, Config)
    known = asyncio.run(read_all_known(database_dsn, added, tmp_path))
    asyncio.run(settle_costs(database_dsn, known))
    assert ask(database_dsn, HELD) == [("sale", "code"), ("cost", "big"), ("cost", "far")]
    assert ask(database_dsn, GONE) == []


def test_who_has_prices_says_all_of_them(database_dsn: str, tmp_path: Path) -> None:
    """An empty table is one, too; and a model that the list has no longer costs nothing known."""
    config = msgspec.convert(SETTINGS, Config)
    asyncio.run(start(database_dsn, config, tmp_path))
    elsewhere = {"big": {"upstream": "http://127.0.0.1:1"}}
    asyncio.run(
        start(database_dsn, msgspec.convert({"models": elsewhere, "prices": {}}, Config), tmp_path)
    )
    assert ask(database_dsn, GONE) == [("sale", "code"), ("cost", "big")]


def test_what_was_added_has_its_costs_too(database_dsn: str, tmp_path: Path) -> None:
    far = {"upstream": "https://api.openai.com/v1", "upstream_model": "gpt-4o-mini"}

    async def play() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await rows.add(conn, "far", far)
            await rows.add(conn, "odd", {"bass": 1})
        await start(database_dsn, Config(), tmp_path)
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            cursor = await conn.execute("select side, model from prices")
            assert await cursor.fetchall() == [("cost", "far")]
            cursor = await conn.execute("select model from sold_models order by 1")
            assert await cursor.fetchall() == [("code",), ("far",)]

    asyncio.run(play())


def test_a_settings_price_in_another_currency_than_a_budget_is_refused(
    database_dsn: str, tmp_path: Path
) -> None:
    """Another currency there, and a price of the tenant's own, are ways out."""
    budgets = (Budget(period="month", nanos=10**9),)
    euros = {"prices": {"code": {"input": 0.15, "currency": "EUR"}}}
    config = msgspec.convert(euros, Config)

    async def settle(config: Config) -> None:
        await start(database_dsn, config, tmp_path)

    async def play() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            await create_tenant(conn, "acme", Terms(budgets=budgets))
            told = r"\[prices\.code\] in the settings file is in EUR.*'acme'.*USD.*--currency EUR"
            with pytest.raises(PricesRefused, match=told):
                await settle(config)
            count = await (await conn.execute("select count(*) from prices")).fetchone()
            assert count == (0,)
            own = PriceRow(since=EPOCH, model="code", tenant="acme", input=1)
            dollars = msgspec.convert({"prices": {"code": {"input": 0.15}}}, Config)
            await settle(dollars)
            with pytest.raises(PricesRefused):
                await settle(config)
            async with conn.transaction():
                await add_price(conn, own, lead=timedelta(0), default=True)
            await settle(config)

    asyncio.run(play())


def test_a_tenant_may_take_the_currency_of_the_settings(database_dsn: str, tmp_path: Path) -> None:
    budgets = (Budget(period="month", nanos=10**9),)
    config = msgspec.convert({"prices": {"code": {"input": 0.15, "currency": "EUR"}}}, Config)

    async def play() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            await create_tenant(conn, "acme", Terms(budgets=budgets))
            with pytest.raises(PricesRefused):
                await start(database_dsn, config, tmp_path)
            await set_tenant(conn, "acme", {"currency": "EUR", "budgets": budgets})
            await start(database_dsn, config, tmp_path)

    asyncio.run(play())


def test_a_listed_price_is_a_cost_in_dollars() -> None:
    listed = ListedPrice(
        provider="maker", model="m", input=0.1, output=0.3, since=date(2026, 1, 1), version="v1"
    )
    row = cost_from(listed, "mine")
    assert (row.side, row.model, row.currency) == ("cost", "mine", "USD")
    assert (row.input, row.cached_input) == (100_000_000, 100_000_000)
    assert (row.output, row.reasoning) == (300_000_000, 300_000_000)
