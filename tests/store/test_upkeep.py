"""Statistics are kept without keeping others off."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import psycopg
from tests.record.test_forget import wait_for
from tests.record.test_window import ask

from liveweights.store.database import open_pool
from liveweights.store.partitions import ensure
from liveweights.store.upkeep import analyze, keep_up

TOKENS = ("prompt_ids", "output_ids", "logprobs", "raw_logprobs")
WAITS = (
    "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
    " where not granted and relation = 'generations_undated'::regclass"
    " and datname = current_database()"
)


def write(dsn: str, count: int, since: int = 0) -> None:
    with psycopg.connect(dsn) as conn:
        rows = (
            "insert into generations"
            " select 'g' || n, timestamptz '2026-01-01' + n * interval '1 s', 'a', 'c', 'chat',"
            " '{1}', '{1}', '{1}', '{1}', '', 'stop', 1, 1, null, 1, 't', null, null, '', '',"
            " true, '', 1, 1, '{}'"
            f" from generate_series({since} + 1, {since + count}) n"
        )
        conn.execute(rows.encode())
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("analyze generations_undated")  # as Postgres does by itself


def test_only_what_has_changed_by_a_tenth_is_looked_at(database_dsn: str) -> None:
    write(database_dsn, 1000)
    assert ask(database_dsn, analyze) == ["feedback", "generations"]
    assert ask(database_dsn, analyze) == []
    write(database_dsn, 50, 1000)
    assert ask(database_dsn, analyze) == []
    write(database_dsn, 100, 1050)
    assert ask(database_dsn, analyze) == ["generations"]
    assert ask(database_dsn, analyze) == []


def test_the_whole_has_statistics_of_what_is_looked_for_and_none_of_tokens(
    database_dsn: str,
) -> None:
    ask(database_dsn, lambda conn: ensure(conn, [date(2026, 5, 1)]))
    write(database_dsn, 1000)
    ask(database_dsn, analyze)
    with psycopg.connect(database_dsn) as conn:
        found = conn.execute("select attname from pg_stats where tablename = 'generations'")
        names = {name for (name,) in found}
        assert {"created_at", "alias"} <= names
        assert not names & set(TOKENS)
        targets = conn.execute(
            "select attname, array_agg(distinct attrelid::regclass::text) from pg_attribute"
            " where attstattarget = 0 and attnum > 0 and not attisdropped group by 1"
        ).fetchall()
    tables = ["generations", "generations_20260501", "generations_undated"]
    assert dict(targets) == dict.fromkeys(TOKENS, tables)


def test_nobody_waits_for_statistics_of_another_table_or_to_learn_that_a_day_is_there(
    database_dsn: str,
) -> None:
    async def work() -> int:
        pool = await open_pool(database_dsn)
        async with (
            await psycopg.AsyncConnection.connect(database_dsn) as holding,
            await psycopg.AsyncConnection.connect(database_dsn) as other,
        ):
            # Here who reads a sample of the rows has to wait.
            await holding.execute("lock table generations_undated in access exclusive mode")
            task = asyncio.create_task(keep_up(pool, metric_days=7))
            try:
                await wait_for(other, WAITS, 1)
                await other.execute("set lock_timeout = '1s'")
                await other.execute("lock table feedback in share mode")
                return await ensure(other, [datetime.now(UTC).date()])
            finally:
                task.cancel()
                await holding.rollback()
                await pool.close()

    assert asyncio.run(work()) == 0
