"""Keys and tenants as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.meter.ask import ask

from liveweights.meter import key_rows, tenants
from liveweights.meter.budgets import Budget
from liveweights.meter.keys import EndedKey, Keys
from liveweights.meter.rights import Rights
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import TenantError, Terms
from liveweights.store.database import Connection

RIGHTS = Rights(
    uses=("answers",),
    models=("code",),
    limits=RateLimits(requests_per_minute=5),
    budgets=(Budget(period="month", nanos=10**12),),
    route={"local_only": True},
)


def test_a_key_is_told_once_and_only_its_hash_is_stored(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        await tenants.create_tenant(conn, "acme", Terms(time_zone="Europe/Berlin"))
        soon = datetime.now(UTC) + timedelta(days=1)
        row, key = await key_rows.create_key(
            conn, "acme", name="CI", expires_at=soon, rights=RIGHTS
        )
        assert await key_rows.read_key(conn, row.id) == row
        assert await key_rows.read_key(conn, row.prefix) == row
        assert await key_rows.read_key(conn, key) == row
        assert (row.rights, row.expires_at, row.tenant, row.name) == (RIGHTS, soon, "acme", "CI")
        cursor = await conn.execute("select k::text from api_keys k")
        [(text,)] = await cursor.fetchall()
        assert key.rpartition(row.id)[2].strip("-") not in text
        keys = Keys({}, required=True)
        keys.replace(await key_rows.read_sealed(conn))
        client = keys.find(key)
        assert client is not None
        assert (client.tenant, client.key, client.rights) == ("acme", row.id, RIGHTS)
        with pytest.raises(LookupError, match="there is no tenant 'nobody'"):
            await key_rows.create_key(conn, "nobody")

    ask(database_dsn, work)


def test_a_key_is_rotated_and_revoked(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        await tenants.create_tenant(conn, "acme", Terms())
        row, first = await key_rows.create_key(conn, "acme")
        keys = Keys({}, required=True)

        async def opens(key: str) -> bool:
            keys.replace(await key_rows.read_sealed(conn, [row.id]))
            return keys.find(key) is not None

        kept, second = await key_rows.rotate_key(conn, row.id, timedelta(hours=1))
        assert kept.id == row.id
        assert kept.previous_until is not None
        assert await opens(first)
        assert await opens(second)
        _, third = await key_rows.rotate_key(conn, row.id, timedelta())
        assert [await opens(key) for key in (first, second, third)] == [False, False, True]
        gone = await key_rows.revoke_key(conn, third, "lost")
        assert (gone.revoked_why, gone.revoked_at is None) == ("lost", False)
        with pytest.raises(EndedKey):
            await opens(third)
        for again in (
            key_rows.revoke_key(conn, row.id),
            key_rows.rotate_key(conn, row.id, timedelta()),
        ):
            with pytest.raises(key_rows.UnknownKey, match="was revoked on"):
                await again
        with pytest.raises(key_rows.UnknownKey, match="there is no key"):
            await key_rows.revoke_key(conn, "lw-aaaaaaaa")
        assert await key_rows.read_keys(conn, ended=False) == []
        assert [one.id for one in await key_rows.read_keys(conn, tenant="acme")] == [row.id]
        assert await key_rows.read_keys(conn, tenant="other") == []

    ask(database_dsn, work)


def test_a_tenant_is_changed_and_removed_with_its_keys(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        terms = Terms(currency="EUR", limits=RateLimits(concurrency=2))
        await tenants.create_tenant(conn, "acme", terms)
        with pytest.raises(TenantError, match="there is, or was, a tenant"):
            await tenants.create_tenant(conn, "acme", Terms())
        budgets = (Budget(period="day", nanos=5),)
        changed = await tenants.set_tenant(conn, "acme", {"budgets": budgets, "plan": "big"})
        assert (changed.budgets, changed.plan, changed.currency) == (budgets, "big", "EUR")
        assert changed.limits == RateLimits(concurrency=2)
        assert (await tenants.set_tenant(conn, "acme", {"limits": None})).limits is None
        with pytest.raises(ValueError, match="no time zone"):
            await tenants.set_tenant(conn, "acme", {"time_zone": "Mars/North"})
        await key_rows.create_key(conn, "acme")
        assert await tenants.remove_tenant(conn, "acme") == 1
        assert await key_rows.read_keys(conn, ended=False) == []
        with pytest.raises(TenantError, match="was removed on"):
            await tenants.read_tenant(conn, "acme")
        with pytest.raises(TenantError, match="never used again"):
            await tenants.create_tenant(conn, "acme", Terms())
        assert [one.name for one in await tenants.read_tenants(conn)] == ["acme"]

    ask(database_dsn, work)
