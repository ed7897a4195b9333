"""What may be spent is in the currency of the prices: each side refuses what does not fit the
other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from liveweights.meter.budgets import Budget
from liveweights.meter.key_rows import create_key
from liveweights.meter.price_rows import CurrencyError, assign_plan
from liveweights.meter.rights import Rights
from liveweights.meter.tenants import Terms, add_credit, create_tenant, read_tenants, set_tenant
from liveweights.store.database import Connection

from .ask import ask
from .test_ledger import PRICE, add

EUROS = replace(PRICE, currency="EUR")
BUDGET = (Budget(period="month", nanos=10**9),)


def make(dsn: str, name: str = "acme", **terms: Any) -> None:
    ask(dsn, lambda conn: create_tenant(conn, name, Terms(**terms)))


WAYS: dict[str, Callable[[Connection], Awaitable[Any]]] = {
    "budget": lambda conn: set_tenant(conn, "acme", {"budgets": BUDGET}),
    "credit": lambda conn: add_credit(conn, "acme", 10**9, "invoice 1"),
    "key": lambda conn: create_key(conn, "acme", rights=Rights(budgets=BUDGET)),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_may_be_spent_is_in_the_currency_of_the_prices(database_dsn: str, way: str) -> None:
    add(database_dsn, EUROS)
    make(database_dsn)
    with pytest.raises(CurrencyError, match=r"'acme' .* in USD.* in EUR.*--currency EUR"):
        ask(database_dsn, WAYS[way])
    ask(database_dsn, lambda conn: set_tenant(conn, "acme", {"currency": "EUR"}))
    ask(database_dsn, WAYS[way])
    with pytest.raises(CurrencyError, match="USD"):
        ask(database_dsn, lambda conn: set_tenant(conn, "acme", {"currency": "USD"}))


@pytest.mark.parametrize("way", WAYS)
def test_amounts_are_not_turned_into_another_currency(database_dsn: str, way: str) -> None:
    """There is no price that the other currency would not fit."""
    make(database_dsn)
    ask(database_dsn, WAYS[way])
    changes = {"currency": "JPY", "note": "moved"}
    told = {"budget": "--no-budgets", "credit": "another tenant", "key": "revoke them first"}[way]
    with pytest.raises(CurrencyError, match=f"USD.* as much in JPY.*{told}"):
        ask(database_dsn, lambda conn: set_tenant(conn, "acme", changes))
    ask(database_dsn, lambda conn: set_tenant(conn, "acme", {"currency": "USD", "note": "here"}))
    anew: dict[str, Any] = {**changes, "budgets": (Budget(period="month", nanos=10**11),)}
    if way != "budget":
        with pytest.raises(CurrencyError):
            ask(database_dsn, lambda conn: set_tenant(conn, "acme", anew))
        return
    changed = ask(database_dsn, lambda conn: set_tenant(conn, "acme", anew))
    assert (changed.currency, changed.budgets) == ("JPY", anew["budgets"])


def test_a_tenant_that_is_refused_is_not_made(database_dsn: str) -> None:
    add(database_dsn, EUROS)
    with pytest.raises(CurrencyError):
        make(database_dsn, budgets=BUDGET)
    assert ask(database_dsn, read_tenants) == []
    make(database_dsn, budgets=BUDGET, currency="EUR")


@pytest.mark.parametrize("way", WAYS)
def test_a_price_is_in_the_currency_of_what_may_be_spent(database_dsn: str, way: str) -> None:
    make(database_dsn)
    make(database_dsn, "other")  # without a budget it pays in whatever currency
    ask(database_dsn, WAYS[way])
    for foreign in (EUROS, replace(EUROS, tenant="acme"), replace(EUROS, model=None)):
        with pytest.raises(CurrencyError, match="tenants set acme --currency EUR"):
            add(database_dsn, foreign)
    add(database_dsn, replace(EUROS, tenant="other"))
    add(database_dsn, replace(EUROS, side="cost"))
    add(database_dsn, replace(EUROS, plan="europe"))
    with pytest.raises(CurrencyError):
        ask(database_dsn, lambda conn: assign_plan(conn, "acme", "europe"))
    add(database_dsn, PRICE)
    assert prices(database_dsn) == 4


def test_with_a_price_of_its_own_a_tenant_may_be_billed_otherwise(database_dsn: str) -> None:
    make(database_dsn)
    ask(database_dsn, WAYS["budget"])
    own = replace(PRICE, model=None, tenant="acme")
    add(database_dsn, own)
    add(database_dsn, EUROS)


def prices(dsn: str) -> int:
    async def count(conn: Connection) -> int:
        cursor = await conn.execute("select count(*) from prices")
        return ((await cursor.fetchone()) or (0,))[0]

    return ask(dsn, count)
