from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from liveweights.store.database import Pool, connect_like, heeding, listen, open_pool


def cut_connections(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )


def notify(dsn: str, payload: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select pg_notify('news', %s)", (payload,))


def test_listen_hears_and_says_when_it_may_have_missed_something(database_dsn: str) -> None:
    async def main() -> None:
        news = listen(database_dsn, "news")
        assert await anext(news) == ""  # connected
        for payload in ("one", "zwei"):
            await asyncio.to_thread(notify, database_dsn, payload)
            assert await anext(news) == payload
        await asyncio.to_thread(cut_connections, database_dsn)
        assert await anext(news) == ""  # connected again
        await asyncio.to_thread(notify, database_dsn, "three")
        assert await anext(news) == "three"
        await news.aclose()

    asyncio.run(main())


def test_a_pool_survives_the_loss_of_its_connections(database_dsn: str) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn, min_size=2)
        await asyncio.to_thread(cut_connections, database_dsn)
        for _ in range(3):
            async with pool.connection() as conn:
                await conn.execute("select 1")
        await pool.close()

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_is_given_a_connection_ends(database_dsn: str) -> None:
    """At whatever step of being given it the cancellation arrives."""

    async def use(pool: Pool) -> None:
        async with pool.connection():
            await asyncio.Event().wait()

    async def main() -> None:
        pool = await open_pool(database_dsn, max_size=1)
        for steps in range(30):
            conn = await pool.getconn()
            task = asyncio.create_task(use(pool))
            while not pool.get_stats().get("requests_waiting"):
                await asyncio.sleep(0.001)
            await pool.putconn(conn)
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task}, timeout=30)
            assert task.cancelled(), steps
        await pool.close()

    asyncio.run(main())


@pytest.mark.parametrize("mine", [True, False])
def test_an_error_in_place_of_a_cancellation_is_one(mine: bool) -> None:
    async def use() -> None:
        with heeding():
            try:
                async with asyncio.timeout(None if mine else 0.01):
                    await asyncio.sleep(60)
            finally:
                if mine:
                    raise psycopg.OperationalError("the server goes away")

    async def main() -> None:
        task = asyncio.create_task(use())
        await asyncio.sleep(0)
        if mine:
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() == mine
        if not mine:
            assert isinstance(task.exception(), TimeoutError)

    asyncio.run(main())


def test_a_connection_beside_the_pool_commits_by_itself(database_dsn: str) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn, max_size=1)
        async with pool.connection() as one, await connect_like(pool) as two:
            await two.execute("create table t (id int)")
            await one.execute("select * from t")
        await pool.close()

    asyncio.run(main())


def test_a_server_that_is_not_there_is_an_error(tmp_path: object) -> None:
    with pytest.raises(PoolTimeout):
        asyncio.run(open_pool(f"host={tmp_path} user=x", timeout=0.2))
