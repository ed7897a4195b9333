"""Prices, plans and tenants that are changed at once: nobody waits in a circle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from liveweights.meter.budgets import Budget
from liveweights.meter.key_rows import create_key
from liveweights.meter.price_rows import Sold, add_price, settle_prices, settle_sold
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.rights import Rights
from liveweights.meter.tenants import Terms, add_credit, create_tenant, set_tenant
from liveweights.store.database import Connection, Pool, open_pool

ROUNDS = 12
Change = Callable[[Connection], Awaitable[object]]


def at_once(dsn: str, *rounds: list[Change], before: Change | None = None) -> None:
    """Each change of a round in a transaction of its own, all of a round together."""

    async def one(pool: Pool, change: Change) -> None:
        async with pool.connection() as conn, conn.transaction():
            await change(conn)

    async def main() -> None:
        pool = await open_pool(dsn, min_size=4)
        if before is not None:
            await one(pool, before)
        for changes in rounds:
            await asyncio.gather(*(one(pool, change) for change in changes))
        await pool.close()

    asyncio.run(main())


def test_tenants_that_are_changed_at_once(database_dsn: str) -> None:
    names = ["a", "b", "c"]

    async def create(conn: Connection) -> None:
        for name in names:
            await create_tenant(conn, name, Terms())

    def changes(number: int) -> list[Change]:
        plans: list[Change] = [
            lambda conn, name=name: set_tenant(conn, name, {"plan": f"plan {number}"})
            for name in names
        ]
        rights = Rights(budgets=(Budget(period="day", nanos=5),))
        price = PriceRow(since=datetime.now(UTC), model=f"m{number}", input=number)
        return [
            *plans,
            lambda conn: add_credit(conn, "a", 5, "paid"),
            lambda conn: create_key(conn, "b", rights=rights),
            lambda conn: create_tenant(conn, f"new {number}", Terms(plan="pro")),
            lambda conn: add_price(conn, price, default=True),
        ]

    at_once(database_dsn, *map(changes, range(ROUNDS)), before=create)


def test_services_that_start_at_once(database_dsn: str) -> None:
    """Each with what the settings file says now: it is written down once."""
    added: list[int] = []

    def start(number: int) -> Change:
        row = PriceRow(since=EPOCH, model="m", input=1 + number, source="settings")

        async def settle(conn: Connection) -> None:
            added.append(await settle_prices(conn, {"m": row}, "settings", "sale"))
            cost = replace(row, side="cost", source="list")
            added.append(await settle_prices(conn, {"m": cost}, "list", "cost"))
            await settle_sold(conn, [Sold(model="m", origin=f"{number}", licence="mit")])

        return settle

    at_once(database_dsn, *([start(number)] * 4 for number in range(ROUNDS)))
    assert sum(added) == 2 * ROUNDS
