"""Days leave Postgres whole and come back whole, whoever writes and whatever dies."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from liveweights.engines.experts import Experts
from liveweights.record import archive as archives
from liveweights.record import read, rollups
from liveweights.record.archive import ArchiveError, archive, find_due, forget_everywhere, restore
from liveweights.record.errors import UnknownGeneration
from liveweights.record.settings import RecordSettings
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool

from .rows import make_feedback, make_generation
from .test_rollups import timed_id
from .test_window import ask, record

DAY, NEXT = datetime(2026, 2, 1, 12, tzinfo=UTC), datetime(2026, 2, 2, 12, tzinfo=UTC)
ROWS = 5
EXPERTS = Experts(2, np.array([[[3, 200]], [[0, 7]]], np.int16)).to_bytes()


def write(dsn: str) -> None:
    """Five generations of each of two days, with feedback and everything that a row may hold."""
    for number, at in enumerate([DAY] * ROWS + [NEXT] * ROWS):
        at += timedelta(seconds=number)
        id = timed_id(at, number)
        record(
            dsn,
            make_generation(
                id,
                created_at=at,
                user="ada" if number % 2 else "bob",
                output=f'naïve "quoted"\n\\N\t{number}',
                metadata={"file": 'a"b\\.py'},
                usage={"prompt_tokens": 3},
                selection=None if number % 2 else -0.125,
                logprobs=[-0.1, -1e-7],
                experts=EXPERTS if number % 2 else None,
            ),
            make_feedback(f"f{number}", id, signal="correction", text="a\nb"),
            make_feedback(f"g{number}", id, signal="reward", value=0.1),
        )


def dump(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as conn:
        return {
            table: conn.execute(f"select * from {table} order by {order}".encode()).fetchall()
            for table, order in (
                ("generations", "day, id"),
                ("feedback", "seq"),
                ("feedback_keys", "seq"),
                ("rollups", "whole, width, bucket, series"),
                ("rollup_histograms", "whole, width, bucket, series, measure, bin"),
            )
        }


def test_a_day_goes_to_files_and_comes_back_as_it_was(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    before = dump(database_dsn)
    done = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path / "archive"))
    assert (done.generations, done.feedback, done.restored_at) == (ROWS, 2 * ROWS, None)
    between = dump(database_dsn)
    assert {row[0] for row in between["generations"]} == {
        row[0] for row in before["generations"] if row[1].date() == NEXT.date()
    }
    assert len(between["feedback"]) == len(between["feedback_keys"]) == 2 * ROWS
    assert between["rollups"] == before["rollups"]
    back = ask(database_dsn, lambda conn: restore(conn, DAY.date(), tmp_path / "archive"))
    assert back.restored_at is not None
    assert dump(database_dsn) == before
    kept = ask(database_dsn, lambda conn: read.generation(conn, before["generations"][1][0]))
    assert kept is not None
    assert kept.experts == EXPERTS
    assert ask(database_dsn, rollups.differences) == []


def test_duckdb_or_anything_reads_the_files(database_dsn: str, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write(database_dsn)
    done = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))
    rows = pq.read_table(tmp_path / "2026-02-01.generations.parquet").to_pylist()
    assert len(rows) == ROWS
    assert rows[0]["output"] == 'naïve "quoted"\n\\N\t0'
    assert rows[0]["prompt_ids"][:2] == [1, 2]
    assert rows[0]["created_at"] == DAY
    assert sorted(done.files) == [
        "2026-02-01.feedback.parquet",
        "2026-02-01.generations.parquet",
    ]


def test_feedback_for_an_archived_day_is_refused_and_taken_once_it_is_back(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    late = make_feedback("late", timed_id(DAY, 0))
    ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))

    async def send() -> None:
        pool = await open_pool(database_dsn)
        try:
            async with Writer(pool, linger=0.0) as writer:
                await writer.add_feedback(late)
        finally:
            await pool.close()

    with pytest.raises(UnknownGeneration):
        asyncio.run(send())
    ask(database_dsn, lambda conn: restore(conn, DAY.date(), tmp_path))
    asyncio.run(send())
    assert ask(database_dsn, rollups.differences) == []
    again = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))
    assert again.feedback == 2 * ROWS + 1


def test_what_is_written_while_a_day_is_archived_is_not_lost(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database_dsn)
    real, calls = archives.write_table, 0

    async def slow(conn: Connection, table: str, day: date, file: Path) -> int:
        nonlocal calls
        written = await real(conn, table, day, file)
        calls += 1
        if calls == 2:  # both files are written: one more row arrives
            await asyncio.to_thread(record, database_dsn, make_feedback("x", timed_id(DAY, 0)))
        return written

    monkeypatch.setattr(archives, "write_table", slow)
    done = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))
    assert (done.feedback, calls) == (2 * ROWS + 1, 4)


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
    ask(database_dsn, lambda conn: restore(conn, first, tmp_path))
    assert due(date(2026, 2, 13), 10) == [second]


def test_rollups_of_an_archived_day_cannot_be_rebuilt_away(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    before = dump(database_dsn)["rollups"]
    ask(database_dsn, lambda conn: archive(conn, DAY.date(), None))
    with pytest.raises(psycopg.errors.RaiseException, match="2026-02-01 are archived"):
        ask(database_dsn, rollups.rebuild)
    later = datetime(2026, 2, 2, tzinfo=UTC)
    ask(database_dsn, lambda conn: rollups.rebuild(conn, later))
    assert dump(database_dsn)["rollups"] == before


def test_what_cannot_be_archived_or_restored_says_why(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    day = DAY.date()

    def bring() -> archives.Archived:
        return ask(database_dsn, lambda conn: restore(conn, day, tmp_path))

    with pytest.raises(ArchiveError, match="no rows of 2020-01-01"):
        ask(database_dsn, lambda conn: archive(conn, date(2020, 1, 1), tmp_path))
    with pytest.raises(ArchiveError, match="never archived"):
        bring()
    ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    file = tmp_path / "2026-02-01.feedback.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-9] + b"x" + content[-8:])
    with pytest.raises(ArchiveError, match="SHA-256 differs"):
        bring()
    file.unlink()
    with pytest.raises(ArchiveError, match="is missing"):
        bring()
    file.write_bytes(content)
    bring()
    with pytest.raises(ArchiveError, match="is in Postgres since"):
        bring()
    ask(database_dsn, lambda conn: archive(conn, day, None))
    with pytest.raises(ArchiveError, match="dropped without a file"):
        bring()


def test_a_user_is_forgotten_in_the_files_too(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    for day in (DAY.date(), NEXT.date()):
        ask(database_dsn, lambda conn, day=day: archive(conn, day, tmp_path))
    found, brought = ask(
        database_dsn, lambda conn: forget_everywhere(conn, "default", "ada", tmp_path)
    )
    assert (found.generations, brought) == (5, [DAY.date(), NEXT.date()])
    assert dump(database_dsn)["generations"] == []
    for day in (DAY.date(), NEXT.date()):
        ask(database_dsn, lambda conn, day=day: restore(conn, day, tmp_path))
    users = [row[16] for row in dump(database_dsn)["generations"]]
    assert users == ["bob"] * 5
    assert ask(database_dsn, rollups.differences) == []
