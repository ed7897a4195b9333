from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
from tests.meter.test_ledger import AMOUNT, PRICE, add
from tests.record.rows import make_generation

from liveweights.meter.budgets import Budget
from liveweights.meter.key_rows import create_key, revoke_key
from liveweights.meter.lease_rows import LeaseRows
from liveweights.meter.leases import Ask, Limit
from liveweights.meter.ledger import Ledger
from liveweights.meter.periods import EVER, find_window
from liveweights.meter.prices import EPOCH
from liveweights.meter.reversals import reverse
from liveweights.meter.rights import Rights
from liveweights.meter.spent import read_spent
from liveweights.meter.tenants import Terms, add_credit, create_tenant, remove_tenant
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

BERLIN = ZoneInfo("Europe/Berlin")
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


def test_a_reversal_gives_back_to_credit_and_budgets(database_dsn: str) -> None:
    """Of each no more than was used of it, and to credit nothing that was charged before it."""
    add(database_dsn, replace(PRICE, since=EPOCH))

    async def run() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            budgets = (Budget(period="month", nanos=10**6), Budget(period="all", nanos=10**6))
            await create_tenant(conn, "acme", Terms(budgets=budgets, time_zone="Europe/Berlin"))
            await add_credit(conn, "acme", 2 * AMOUNT, "paid")
            rights = Rights(budgets=(Budget(period="day", nanos=10**6),))
            key, _ = await create_key(conn, "acme", rights=rights)
        now = datetime.now(UTC)
        async with Writer(pool, charge=Ledger()) as writer:
            for id, at in (("a", now), ("b", now), ("old", now - timedelta(days=70))):
                answer = make_generation(id, tenant="acme", key=key.id, created_at=at)
                await writer.add_generation(answer)
        limits = {
            (None, "month"): Limit(
                "tenant acme", "month", find_window("month", BERLIN, now).begins, "money", 10**6
            ),
            (None, "all"): Limit("tenant acme", "all", EVER, "money", 10**6),
            (None, "credit"): Limit("tenant acme", "credit", EVER, "money", 2 * AMOUNT),
            (key.id, "day"): Limit(
                f"key {key.id}", "day", find_window("day", BERLIN, now).begins, "money", 10**6
            ),
        }
        store = LeaseRows(pool, "me")
        for limit in limits.values():
            used = 1 if limit.name == "all" else 2 * AMOUNT
            await store.exchange([Ask(limit, wanted=used, least=used)])
            await store.exchange([Ask(limit, used=used)])

        async def spent(*ids: str) -> dict[tuple[str | None, str], int]:
            async with pool.connection() as conn:
                await reverse(conn, ids, "why")
                found = {(one.key, one.period): one.used for one in await read_spent(conn, now)}
                cursor = await conn.execute("select most - rest - used from allowances")
                assert {left for (left,) in await cursor.fetchall()} == {0}
                return found

        left = {(None, "month"), (None, "credit"), (key.id, "day")}
        assert await spent("old") == {**dict.fromkeys(left, 2 * AMOUNT), (None, "all"): 0}
        assert await spent("a") == {**dict.fromkeys(left, AMOUNT), (None, "all"): 0}
        grants = await store.exchange([Ask(limits[None, "credit"], wanted=AMOUNT, least=AMOUNT)])
        assert [one.held for one in grants] == [AMOUNT]
        await pool.close()

    asyncio.run(run())


def test_a_budget_of_nothing_is_spent(database_dsn: str) -> None:
    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            budgets = (Budget(period="all", nanos=0),)
            await create_tenant(conn, "poor", Terms(budgets=budgets))
            (one,) = await read_spent(conn, NOW)
            assert (one.share, one.used) == (1.0, 0)

    asyncio.run(run())
