"""Days leave Postgres whole and come back whole, whoever writes and whatever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from liveweights.engines.experts import Experts
from liveweights.record import day_files, quarantine, read, rollups
from liveweights.record.archive import archive, restore, rewrite
from liveweights.record.archive_rows import Archived, ArchiveError, read_archives
from liveweights.record.errors import UnknownGeneration
from liveweights.record.hearings import Heard, begin_hearing, note_heard
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool
from liveweights.store.partitions import ensure

from .rows import make_feedback, make_generation
from .test_forget import wait_for
from .test_rollups import timed_id
from .test_window import ask, record

DAY, NEXT = datetime(2026, 2, 1, 12, tzinfo=UTC), datetime(2026, 2, 2, 12, tzinfo=UTC)
ROWS = 5
WAITS = (
    "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
    " where not granted and mode = 'AccessExclusiveLock' and datname = current_database()"
)
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
    real, calls = day_files.write_table, 0

    async def slow(conn: Connection, table: str, day: date, file: Path) -> int:
        nonlocal calls
        written = await real(conn, table, day, file)
        calls += 1
        if calls == 2:  # both files are written: one more row arrives
            await asyncio.to_thread(record, database_dsn, make_feedback("x", timed_id(DAY, 0)))
        return written

    monkeypatch.setattr(day_files, "write_table", slow)
    done = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))
    assert (done.feedback, calls) == (2 * ROWS + 1, 4)


def test_rollups_of_an_archived_day_cannot_be_rebuilt_away(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    before = dump(database_dsn)["rollups"]
    ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path, keep=False))
    with pytest.raises(psycopg.errors.RaiseException, match="2026-02-01 are archived"):
        ask(database_dsn, rollups.rebuild)
    later = datetime(2026, 2, 2, tzinfo=UTC)
    for zone in ("UTC", "America/Los_Angeles", "Asia/Tokyo"):
        with psycopg.connect(database_dsn) as conn:
            conn.execute("select set_config('timezone', %s, false)", (zone,))
            conn.execute("call rebuild_rollups(%s, 'infinity')", (later,))
            with pytest.raises(psycopg.errors.RaiseException, match="2026-02-01 are archived"):
                conn.execute("call rebuild_rollups('2026-02-01T00:00Z', %s)", (later,))
    assert dump(database_dsn)["rollups"] == before


def test_what_cannot_be_archived_or_restored_says_why(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    day = DAY.date()

    def bring() -> Archived:
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
    ask(database_dsn, lambda conn: archive(conn, day, tmp_path, keep=False))
    with pytest.raises(ArchiveError, match="dropped without a file"):
        bring()


def write_late(dsn: str, *numbers: int) -> None:
    """Answers of the first day that come now, one reaction each."""
    for number in numbers:
        id = timed_id(DAY, number)
        record(dsn, make_generation(id, created_at=DAY), make_feedback(f"late{number}", id))


def count_rows(folder: Path) -> dict[str, int]:
    pq = pytest.importorskip("pyarrow.parquet")
    return {file.name: pq.read_metadata(file).num_rows for file in sorted(folder.iterdir())}


def test_two_processes_archive_a_day_once(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)

    async def both() -> Sequence[Archived | BaseException]:
        pool = await open_pool(database_dsn)

        async def one() -> Archived:
            async with pool.connection() as conn:
                return await archive(conn, DAY.date(), tmp_path)

        try:
            return await asyncio.gather(one(), one(), return_exceptions=True)
        finally:
            await pool.close()

    first, second = sorted(asyncio.run(both()), key=lambda one: isinstance(one, ArchiveError))
    assert isinstance(first, Archived)
    assert "no rows of 2026-02-01" in str(second)
    assert [*count_rows(tmp_path).values()] == [2 * ROWS, ROWS]
    back = ask(database_dsn, lambda conn: restore(conn, DAY.date(), tmp_path))
    assert (back.generations, back.feedback) == (ROWS, 2 * ROWS)


def test_files_are_written_once_however_long_the_day_is_in_use(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database_dsn)
    wrote: list[str] = []

    async def note(*given: Any) -> int:
        wrote.append(given[3].name)
        return await write_table(*given)

    write_table = day_files.write_table
    monkeypatch.setattr(day_files, "write_table", note)

    async def work() -> Archived:
        async with (
            await psycopg.AsyncConnection.connect(database_dsn) as holding,
            await psycopg.AsyncConnection.connect(database_dsn) as looking,
            await psycopg.AsyncConnection.connect(database_dsn) as conn,
        ):
            await holding.execute("select from generations limit 1")
            task = asyncio.create_task(archive(conn, DAY.date(), tmp_path))
            for waits in (True, False, True):  # it has tried twice
                await wait_for(looking, WAITS, int(waits))
            await holding.rollback()
            return await task

    assert asyncio.run(work()).generations == ROWS
    assert wrote == [f"{DAY:%Y-%m-%d}.{table}.parquet" for table in ("generations", "feedback")]


def test_late_rows_go_to_further_files_and_come_back_with_the_others(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    day = DAY.date()
    ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    first = count_rows(tmp_path)
    write_late(database_dsn, 77)
    done = ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    assert (done.generations, done.feedback) == (ROWS + 1, 2 * ROWS + 1)
    write_late(database_dsn, 78, 0)  # 0 is in the first files already: a writer was killed
    done = ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    late = {"2026-02-01.feedback.2.parquet": 1, "2026-02-01.generations.2.parquet": 1}
    later = {"2026-02-01.feedback.3.parquet": 2, "2026-02-01.generations.3.parquet": 2}
    assert count_rows(tmp_path) == first | late | later
    assert sorted(done.files) == sorted(first | late | later)
    write_late(database_dsn, 79)
    ask(database_dsn, lambda conn: restore(conn, day, tmp_path))
    ids = [row[0] for row in dump(database_dsn)["generations"] if row[1].date() == day]
    numbers = [0, 1, 2, 3, 4, 77, 78, 79]
    assert len(ids) == len(set(ids)) == len(numbers)
    assert len(dump(database_dsn)["feedback_keys"]) == 4 * ROWS + 4
    # Whole again, in the first files alone.
    done = ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    assert (done.generations, done.feedback) == (ROWS + 3, 2 * ROWS + 4)
    assert count_rows(tmp_path) == {
        "2026-02-01.feedback.parquet": 2 * ROWS + 4,
        "2026-02-01.generations.parquet": ROWS + 3,
    }


def test_an_answer_from_quarantine_does_not_cost_its_day(database_dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table generations add constraint nope check (output <> 'poison')")
    write(database_dsn)
    id = timed_id(DAY, 77)
    record(database_dsn, make_generation(id, created_at=DAY, output="poison"))
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table generations drop constraint nope")
    ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))

    async def retry(conn: Connection) -> tuple[int, int]:
        await conn.set_autocommit(True)
        return await quarantine.retry(conn)

    assert ask(database_dsn, retry) == (1, 0)
    done = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))
    assert done.generations == ROWS + 1
    ask(database_dsn, lambda conn: restore(conn, DAY.date(), tmp_path))
    assert ask(database_dsn, rollups.differences) == []
    kept = ask(database_dsn, lambda conn: read.generation(conn, id))
    assert kept is not None


def test_late_rows_are_dropped_beside_files_that_stay(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    day = DAY.date()
    before = ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    write_late(database_dsn, 77)
    assert ask(database_dsn, lambda c: archive(c, day, tmp_path, keep=False)) == before
    ask(database_dsn, lambda conn: restore(conn, day, tmp_path))
    # For good means: no copy stays that nothing names.
    gone = ask(database_dsn, lambda c: archive(c, day, tmp_path, keep=False))
    assert (gone.generations, gone.files, [*tmp_path.iterdir()]) == (ROWS, {}, [])
    write_late(database_dsn, 77)
    gone = ask(database_dsn, lambda c: archive(c, day, tmp_path, keep=False))
    assert (gone.generations, gone.files) == (ROWS + 1, {})


def test_an_empty_partition_of_an_archived_day_makes_no_files(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    before = ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path))
    files = count_rows(tmp_path)
    ask(database_dsn, lambda conn: ensure(conn, [DAY.date()]))
    assert ask(database_dsn, lambda conn: archive(conn, DAY.date(), tmp_path)) == before
    assert count_rows(tmp_path) == files


def test_a_writer_that_knew_the_day_before_it_went_makes_it_anew(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    late = timed_id(DAY, 78)

    async def main() -> None:
        pool = await open_pool(database_dsn)
        async with Writer(pool, linger=0.0) as writer:
            await writer.add_generation(make_generation(timed_id(DAY, 77), created_at=DAY))
            await writer.flush()
            async with pool.connection() as conn:
                await archive(conn, DAY.date(), tmp_path)
            await writer.add_generation(make_generation(late, created_at=DAY))
            await writer.add_feedback(make_feedback("late", late))
        await pool.close()

    asyncio.run(main())
    assert ask(database_dsn, lambda conn: read.generation(conn, late)) is not None
    assert ask(database_dsn, quarantine.count) == 0


def test_the_files_of_a_day_that_is_back_are_written_anew(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    day = DAY.date()
    ask(database_dsn, lambda conn: archive(conn, day, tmp_path))
    with pytest.raises(ArchiveError, match="is not in Postgres"):
        ask(database_dsn, lambda conn: rewrite(conn, day, tmp_path))
    back = ask(database_dsn, lambda conn: restore(conn, day, tmp_path))
    write_late(database_dsn, 77)
    done = ask(database_dsn, lambda conn: rewrite(conn, day, tmp_path))
    assert (done.generations, done.restored_at) == (ROWS + 1, back.restored_at)
    assert count_rows(tmp_path)["2026-02-01.generations.parquet"] == ROWS + 1
    assert ask(database_dsn, read_archives) == [done]


def test_a_day_that_is_back_is_heard_anew_also_by_who_was_hearing(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    day = DAY.date()
    ask(database_dsn, lambda conn: archive(conn, day, tmp_path))

    async def go(conn: Connection) -> tuple[Heard, Heard]:
        began = await begin_hearing(conn, "live", "c")
        await note_heard(conn, "live", "c", DAY + timedelta(days=9), began=began, late=True)
        await conn.execute("set time zone 'America/Los_Angeles'")
        await conn.commit()
        await restore(conn, day, tmp_path)
        back = await begin_hearing(conn, "live", "c")
        await note_heard(conn, "live", "c", DAY + timedelta(days=9), began=began, late=True)
        await conn.commit()
        assert await begin_hearing(conn, "live", "c") == back
        await note_heard(conn, "live", "c", DAY + timedelta(days=1), began=back, late=False)
        return back, await begin_hearing(conn, "live", "c")

    back, after = ask(database_dsn, go)
    midnight = DAY.replace(hour=0)
    assert (back.until, back.whole) == (midnight, midnight)
    assert (after.until, after.whole) == (DAY + timedelta(days=1), midnight)
