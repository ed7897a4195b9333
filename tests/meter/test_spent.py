from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg

from liveweights.meter.budgets import Budget
from liveweights.meter.key_rows import create_key, revoke_key
from liveweights.meter.lease_rows import LeaseRows
from liveweights.meter.leases import Ask, Limit
from liveweights.meter.periods import EVER
from liveweights.meter.rights import Rights
from liveweights.meter.spent import read_spent
from liveweights.meter.tenants import Terms, add_credit, create_tenant, remove_tenant
from liveweights.store.database import open_pool

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_what_leases_used_is_spent_of_the_window_that_is_now(database_dsn: str) -> None:
    async def run() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            budgets = (Budget(period="month", nanos=1000),)
            await create_tenant(conn, "acme", Terms(budgets=budgets, time_zone="Europe/Berlin"))
            await create_tenant(conn, "gone", Terms(budgets=budgets))
            await remove_tenant(conn, "gone")
            await add_credit(conn, "acme", 500, "paid")
            rights = Rights(budgets=(Budget(period="day", nanos=100),))
            key, _ = await create_key(conn, "acme", name="ci", rights=rights)
            old, _ = await create_key(conn, "acme", rights=rights)
            await revoke_key(conn, old.id)
        store = LeaseRows(pool, "me")
        # March begins in Berlin an hour before it does in UTC.
        march = datetime(2026, 2, 28, 23, tzinfo=UTC)
        february = march - timedelta(days=28)
        today = datetime(2026, 3, 3, 23, tzinfo=UTC)
        for place, name, begins, used in (
            ("tenant acme", "month", march, 250),
            ("tenant acme", "month", february, 999),
            ("tenant acme", "credit", EVER, 100),
            (f"key {key.id}", "day", today, 90),
        ):
            limit = Limit(place, name, begins, "money", 1000)
            await store.exchange([Ask(limit, wanted=used, least=used)])
            await store.exchange([Ask(limit, used=used)])
        async with pool.connection() as conn:
            found = await read_spent(conn, NOW)
            own = await read_spent(conn, NOW, "nobody")
        await pool.close()
        assert own == []
        assert [(one.key, one.period, one.used, one.most) for one in found] == [
            (key.id, "day", 90, 100),
            (None, "month", 250, 1000),
            (None, "credit", 100, 500),
        ]
        assert [one.share for one in found] == [0.9, 0.25, 0.2]
        assert found[0].ends == today + timedelta(days=1)
        assert found[2].ends is None

    asyncio.run(run())


def test_a_budget_of_nothing_is_spent(database_dsn: str) -> None:
    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            budgets = (Budget(period="all", nanos=0),)
            await create_tenant(conn, "poor", Terms(budgets=budgets))
            (one,) = await read_spent(conn, NOW)
            assert (one.share, one.used) == (1.0, 0)

    asyncio.run(run())
