"""Which days go by themselves, and that one that fails keeps no other."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import psycopg
import pytest

from liveweights.record import archive_upkeep
from liveweights.record.archive import archive, restore
from liveweights.record.archive_rows import read_archives
from liveweights.record.archive_upkeep import find_due, keep_archiving
from liveweights.record.settings import RecordSettings
from liveweights.store.database import Connection, open_pool

from .test_archive import DAY, NEXT, write, write_late
from .test_window import ask


def test_the_policy_takes_old_days_but_none_that_were_brought_back(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)

    def due(today: date, days: int) -> list[date]:
        return ask(database_dsn, lambda c: find_due(c, RecordSettings(days=days), today))

    first, second = DAY.date(), NEXT.date()
    assert due(date(2026, 2, 12), 0) == []
    assert due(date(2026, 2, 12), 10) == [first]
    assert due(date(2026, 2, 13), 10) == [first, second]
    ask(database_dsn, lambda conn: archive(conn, first, tmp_path))
    assert due(date(2026, 2, 13), 10) == [second]
    write_late(database_dsn, 77)
    assert due(date(2026, 2, 13), 10) == [first, second]
    ask(database_dsn, lambda conn: restore(conn, first, tmp_path))
    assert due(date(2026, 2, 13), 10) == [second]


def test_a_borrowed_day_goes_back_to_files_whatever_the_policy_is(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    day, settings = DAY.date(), RecordSettings(archive=False)
    before = ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    ask(database_dsn, lambda conn: restore(conn, day, tmp_path, borrow=True))
    assert ask(database_dsn, lambda c: find_due(c, settings, DAY.date())) == [day]
    done = ask(database_dsn, lambda c: archive(c, day, tmp_path, keep=settings.archive))
    assert sorted(done.files) == sorted(before.files)
    ask(database_dsn, lambda conn: restore(conn, day, tmp_path, borrow=True))
    ask(database_dsn, lambda conn: restore(conn, day, tmp_path))  # now it is asked for
    assert ask(database_dsn, lambda c: find_due(c, settings, DAY.date())) == []


def test_a_day_that_fails_keeps_no_other_from_going(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database_dsn)
    (tmp_path / "2026-02-01.generations.parquet.partial").mkdir()

    async def main() -> list[date]:
        pool = await open_pool(database_dsn)
        task = asyncio.create_task(keep_archiving(pool, RecordSettings(days=10), tmp_path))
        try:
            async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
                while not (done := await read_archives(conn)):
                    await conn.commit()
                    await asyncio.sleep(0.05)
            return [one.day for one in done]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await pool.close()

    assert asyncio.run(main()) == [NEXT.date()]


def test_a_fault_of_the_database_is_no_end(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database_dsn)
    asked: list[date] = []

    async def fail(conn: Connection, day: date, folder: Path, *, keep: bool) -> None:
        asked.append(day)
        await conn.execute("select from nowhere")

    monkeypatch.setattr(archive_upkeep, "archive", fail)

    async def main() -> None:
        pool = await open_pool(database_dsn)
        keep = keep_archiving(pool, RecordSettings(days=10), tmp_path, every=0.01)
        task = asyncio.create_task(keep)
        while len(asked) < 4 and not task.done():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pool.close()

    asyncio.run(main())
    assert asked[:4] == [DAY.date(), NEXT.date()] * 2
