"""What is changed in the database is heard of by every process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from liveweights.meter import key_rows, tenants
from liveweights.meter.directory import Directory
from liveweights.meter.keys import EndedKey, Keys
from liveweights.meter.tenants import Terms
from liveweights.store.database import open_pool


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


def test_keys_and_tenants_are_as_the_database_has_them(database_dsn: str) -> None:
    async def run() -> None:
        pool = await open_pool(database_dsn)
        one, other = Keys({}, required=True), Keys({}, required=True)
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await tenants.create_tenant(conn, "before", Terms())
            _, early = await key_rows.create_key(conn, "before")
        async with (
            await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn,
            Directory(pool, database_dsn, one) as directory,
            Directory(pool, database_dsn, other),
        ):
            assert one.find(early) is not None
            assert set(directory.tenants) == {"before"}

            await tenants.create_tenant(conn, "acme", Terms(time_zone="Asia/Tokyo"))
            row, key = await key_rows.create_key(conn, "acme")
            await until(lambda: one.find(key) is not None and other.find(key) is not None)
            assert directory.tenants["acme"].time_zone == "Asia/Tokyo"

            _, new = await key_rows.rotate_key(conn, row.id, timedelta())
            await until(lambda: one.find(new) is not None and other.find(new) is not None)
            assert one.find(key) is None

            # By whatever means.
            await conn.execute("update api_keys set revoked_at = now() where id = %s", (row.id,))
            await until(lambda: ended(one, new) and ended(other, new))

            # What is missed while nobody listens is read afterwards.
            await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where query like 'listen %' and datname = current_database()"
            )
            await tenants.remove_tenant(conn, "before")
            await until(lambda: ended(one, early) and ended(other, early))
            assert directory.tenants["before"].removed_at is not None
        await pool.close()

    asyncio.run(run())


def test_rows_that_cannot_be_read_keep_no_others_from_being_heard(
    database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As a newer version may have written them, before a process starts and while it runs."""
    spoil_key = "update api_keys set rights = rights || '{\"newer\": 1}' where id = %s"
    spoil_tenant = "update tenants set limits = '{\"newer\": 1}' where name = %s"

    async def run() -> None:
        pool = await open_pool(database_dsn)
        keys, connect = Keys({}, required=True), psycopg.AsyncConnection.connect
        async with await connect(database_dsn, autocommit=True) as conn:
            opens: dict[str, tuple[str, str]] = {}
            for name in ("broken", "late", "acme"):
                await tenants.create_tenant(conn, name, Terms())
                row, key = await key_rows.create_key(conn, name)
                opens[name] = row.id, key
            spoilt, gone = await key_rows.create_key(conn, "acme")
            await conn.execute(spoil_key, (spoilt.id,))
            await conn.execute(spoil_tenant, ("broken",))
            async with Directory(pool, database_dsn, keys) as directory:
                assert keys.find(gone) is None
                assert keys.find(opens["broken"][1]) is None  # without its limits
                assert keys.find(opens["acme"][1]) is not None
                await conn.execute(spoil_tenant, ("late",))
                await conn.execute(spoil_key, (opens["acme"][0],))
                await until(lambda: keys.find(opens["acme"][1]) is None)
                assert keys.find(opens["late"][1]) is not None
                assert directory.tenants["late"].limits is None  # as it was
                await key_rows.revoke_key(conn, opens["late"][0])
                await until(lambda: ended(keys, opens["late"][1]))
                await conn.execute("update tenants set limits = null")
                await until(lambda: keys.find(opens["broken"][1]) is not None)
        await pool.close()

    asyncio.run(run())
    for text in (
        "keys of the tenant broken open nothing",
        "the tenant late is taken as it was",
        "opens nothing, its row cannot be read",
        "newer",
    ):
        assert text in caplog.text


def ended(keys: Keys, key: str) -> bool:
    try:
        return keys.find(key) is None
    except EndedKey:
        return True
