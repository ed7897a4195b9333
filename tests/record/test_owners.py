"""Whose upstream objects are, in a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from liveweights.record import owners as module
from liveweights.record.errors import StoreAway
from liveweights.record.owners import OwnerStore
from liveweights.store.database import Pool, open_pool

FILE, BATCH = ("files", "file-1"), ("batches", "batch-1")


@asynccontextmanager
async def pool_of(dsn: str) -> AsyncIterator[Pool]:
    pool = await open_pool(dsn)
    try:
        yield pool
    finally:
        await pool.close()


def rows(dsn: str) -> list[tuple[str, str, str, str]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(
            "select upstream, kind, id, tenant from upstream_objects order by 1, 2, 3"
        ).fetchall()


def test_what_was_remembered_is_durable_and_known_elsewhere(database_dsn: str) -> None:
    async def run() -> None:
        async with pool_of(database_dsn) as pool, OwnerStore(pool, "http://a") as store:
            await store.remember("ada", [FILE, BATCH])
            assert rows(database_dsn) == [("http://a", *BATCH, "ada"), ("http://a", *FILE, "ada")]
            async with OwnerStore(pool, "http://a") as other:
                assert await other.find([FILE, ("files", "file-2")]) == {FILE: "ada"}
            async with OwnerStore(pool, "http://b") as elsewhere:
                assert await elsewhere.find([FILE]) == {}

    asyncio.run(run())


def test_the_first_tenant_keeps_an_id_that_is_given_twice(database_dsn: str) -> None:
    async def run() -> None:
        async with (
            pool_of(database_dsn) as pool,
            OwnerStore(pool, "u") as one,
            OwnerStore(pool, "u") as two,
        ):
            await one.remember("ada", [FILE])
            await two.remember("bob", [FILE])
            assert await one.find([FILE]) == await two.find([FILE]) == {FILE: "ada"}
        assert rows(database_dsn) == [("u", *FILE, "ada")]

    asyncio.run(run())


def test_what_was_deleted_is_forgotten(database_dsn: str) -> None:
    async def run() -> None:
        async with pool_of(database_dsn) as pool, OwnerStore(pool, "u") as store:
            await store.remember("ada", [FILE])
            await store.forget(FILE)
            assert await store.find([FILE]) == {}

    asyncio.run(run())


def test_an_outage_costs_neither_the_answer_nor_the_owner(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made meanwhile counts at once, and is written when the table is there again."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)

    async def run() -> None:
        async with pool_of(database_dsn) as pool, OwnerStore(pool, "u") as store:
            with psycopg.connect(database_dsn, autocommit=True) as conn:
                await store.remember("ada", [FILE])
                # Nobody gets a connection: as if the server did not answer.
                async with asyncio.timeout(60):
                    held = [await pool.getconn() for _ in range(pool.max_size)]
                    await store.remember("ada", [BATCH])
                    assert await store.find([FILE, BATCH]) == {FILE: "ada", BATCH: "ada"}
                    pool.timeout = 0.1
                    with pytest.raises(StoreAway):
                        await store.find([("files", "unknown")])
                    for one in held:
                        await pool.putconn(one)
                    while len(rows(database_dsn)) < 2:
                        await asyncio.sleep(0.05)
                assert conn.execute("select count(*) from upstream_objects").fetchone() == (2,)

    asyncio.run(run())


def test_memory_is_bounded(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN", 3)
    many = [("files", f"file-{number}") for number in range(10)]

    async def run() -> None:
        async with pool_of(database_dsn) as pool, OwnerStore(pool, "u") as store:
            await store.remember("ada", many)
            assert len(store._known) == 3
            assert await store.find(many) == dict.fromkeys(many, "ada")

    asyncio.run(run())
