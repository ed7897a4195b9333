"""Old logs in a real database: once, again, and never what must not be there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import psycopg
import pytest
from tests.serve.gateway.test_logs import READER, chat

from liveweights.app.imports import Imported, ImportRefused, check_days, write_logs
from liveweights.record.forget import forget
from liveweights.store.database import open_pool


def write(dsn: str, lines: Sequence[dict[str, Any]]) -> Imported:
    async def run() -> Imported:
        pool = await open_pool(dsn)
        try:
            return await write_logs(pool, [READER.read(json.dumps(one).encode()) for one in lines])
        finally:
            await pool.close()

    return asyncio.run(run())


def lines(count: int) -> list[dict[str, Any]]:
    return [
        chat(
            id=f"row-{number}",
            user=f"u-{number % 7}",
            created_at=f"2026-0{number % 6 + 1}-03T00:00:00Z",
            feedback=[{"signal": "accepted"}, {"signal": "correction", "text": f"{number}"}],
        )
        for number in range(count)
    ]


def test_all_of_it_is_recorded_and_may_be_repeated(database_dsn: str) -> None:
    logs = lines(450)
    assert write(database_dsn, logs[:300]) == Imported(generations=300, feedback=600)
    assert write(database_dsn, logs) == Imported(
        generations=150, generations_known=300, feedback=300, feedback_known=600
    )
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select count(*) from generations").fetchone() == (450,)
        assert conn.execute("select count(*) from feedback").fetchone() == (900,)
        [(answers, accepted)] = conn.execute(
            "select sum(generations), sum(accepted) from stats where minutes = 1440"
        ).fetchall()
    assert (answers, accepted) == (450, 450)


def test_who_was_forgotten_stays_forgotten(database_dsn: str) -> None:
    write(database_dsn, lines(14))

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await forget(conn, "team-a", "u-3")

    asyncio.run(run())
    found = write(database_dsn, lines(14))
    assert (found.generations, found.generations_known, found.forgotten) == (0, 12, 2)
    with psycopg.connect(database_dsn) as conn:
        rows = conn.execute("select count(*) from generations where user_id = 'u-3'").fetchone()
    assert rows == (0,)


def test_feedback_that_contradicts_what_is_there_is_named(database_dsn: str) -> None:
    said = {"signal": "accepted", "id": "click-1"}
    write(database_dsn, [chat(feedback=[said])])
    with pytest.raises(ImportRefused, match="click-1"):
        write(database_dsn, [chat(feedback=[{**said, "signal": "rejected"}])])


def test_an_archived_day_takes_no_rows(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into archives (day, generations, feedback, files, archived_at)"
            " values ('2026-03-03', 1, 0, '{}', now())"
        )

    async def run() -> None:
        pool = await open_pool(database_dsn)
        try:
            await check_days(pool, [date(2026, 3, 4)])
            with pytest.raises(ImportRefused, match="liveweights restore 2026-03-03"):
                await check_days(pool, [date(2026, 3, 3), date(2026, 3, 4)])
        finally:
            await pool.close()

    asyncio.run(run())
