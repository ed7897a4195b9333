"""Rows that Postgres refuses, errors that it may not be to blame for, and batches of any size."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liveweights.record import quarantine
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import ConflictingFeedback, TooMuchFeedback, UnknownGeneration
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

from .rows import make_feedback, make_generation
from .test_outage import outage, until_spilled
from .test_rollups import differences
from .test_writer import count, open_writer

_RANDOM = random.Random(1)
NOISE = "".join(_RANDOM.choice(string.ascii_letters + string.digits) for _ in range(6000))
"""Compressed too, it is larger than an index entry may be."""


@pytest.fixture
def indexed_dsn(database_dsn: str) -> str:
    """A database that refuses a long output with SQLSTATE 54000, an OperationalError."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute("create index on generations (output)")
    return database_dsn


@contextmanager
def failing(dsn: str, output: str, sqlstate: str) -> Iterator[None]:
    """Whoever inserts a generation with that output gets an error with that SQLSTATE."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "create function fail() returns trigger language plpgsql as $$ begin"
            f" raise exception 'no such luck' using errcode = '{sqlstate}'; end $$".encode()
        )
        conn.execute(
            "create trigger fail before insert on generations for each row"
            f" when (new.output = '{output}') execute function fail()".encode()
        )
        yield
        conn.execute("drop trigger fail on generations")


async def kept(pool: Any) -> list[quarantine.Kept]:
    async with pool.connection() as conn:
        return await quarantine.read(conn)


def test_a_row_that_no_index_takes_is_alone_in_quarantine(indexed_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(indexed_dsn, linger=0.05) as (writer, pool):
            for number in range(9):
                output = NOISE if number == 4 else "fine"
                await writer.add_generation(make_generation(f"g{number}", output=output))
            results = await asyncio.wait_for(
                asyncio.gather(
                    *(writer.add_feedback(make_feedback(f"f{n}", f"g{n}")) for n in range(9)),
                    return_exceptions=True,
                ),
                60,
            )
            assert isinstance(results[4], UnknownGeneration)
            assert [r for n, r in enumerate(results) if n != 4] == [True] * 8
            (row,) = await kept(pool)
            assert (row.kind, row.id, row.tenant) == ("generation", "g4", "default")
            assert row.reason.startswith("54000 index row size")
            assert row.size > 6000
            assert (writer.backlog.rows, writer.backlog.quarantined) == (0, 1)

    asyncio.run(main())
    assert (count(indexed_dsn, "generations"), count(indexed_dsn, "feedback")) == (8, 8)


def test_a_bad_row_on_disk_does_not_hang_the_next_start(indexed_dsn: str, tmp_path: Path) -> None:
    async def main() -> None:
        pool = await open_pool(indexed_dsn)
        spill = Spill(tmp_path)
        async with (
            outage(indexed_dsn),
            Writer(pool, batch_rows=4, spill=spill, close_timeout=0.05) as writer,
        ):
            for number in range(11):
                output = NOISE if number in (3, 7) else "fine"
                await writer.add_generation(make_generation(f"g{number}", output=output))
            await until_spilled(spill, 11)
        spill.close()
        spill = Spill(tmp_path)
        assert spill.rows == 11
        async with Writer(pool, batch_rows=4, spill=spill) as writer:
            await asyncio.wait_for(writer.flush(), 60)
            assert await writer.add_feedback(make_feedback("f", "g10"))
            assert {row.id for row in await kept(pool)} == {"g3", "g7"}
        await pool.close()

    asyncio.run(main())
    assert count(indexed_dsn, "generations") == 9
    assert differences(indexed_dsn) == []
    assert not list(tmp_path.glob("*.rows"))


def test_feedback_that_is_refused_is_told_so_and_kept(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table feedback add constraint polite check (text <> 'poison')")

    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            await writer.add_generation(make_generation("g"))
            poison = make_feedback("f", "g", signal="comment", text="poison")
            with pytest.raises(InvalidRow, match=r"refused: 23514 .*polite"):
                await writer.add_feedback(poison)
            (row,) = await kept(pool)
            assert (row.kind, row.id) == ("feedback", "f")
            assert "poison" not in row.reason
            async with pool.connection() as conn:
                await conn.set_autocommit(True)
                assert await quarantine.retry(conn) == (0, 1)
                await conn.execute("alter table feedback drop constraint polite")
                assert await quarantine.retry(conn) == (1, 0)
                assert await quarantine.count(conn) == 0
                await conn.set_autocommit(False)
            assert await writer.add_feedback(poison) is False  # it is there

    asyncio.run(main())


def test_a_quarantined_answer_can_be_brought_back(indexed_dsn: str) -> None:
    g = make_generation("g", output=NOISE)

    async def main() -> None:
        async with open_writer(indexed_dsn) as (writer, pool):
            await writer.add_generation(g)
            await writer.add_generation(make_generation("other", output=NOISE))
            await writer.flush()
            async with pool.connection() as conn:
                await conn.set_autocommit(True)
                assert await quarantine.retry(conn) == (0, 2)
                other = next(row for row in await quarantine.read(conn) if row.id == "other")
                assert await quarantine.drop(conn, [other.number]) == 1
                await conn.execute("drop index generations_output_idx")
                assert await quarantine.retry(conn) == (1, 0)
                await conn.set_autocommit(False)
            assert await writer.add_feedback(make_feedback("f", "g"))

    asyncio.run(main())
    assert count(indexed_dsn, "quarantine") == 0
    assert differences(indexed_dsn) == []


@pytest.mark.parametrize("sqlstate", ["XX000", "53200", "0A000"])
def test_whose_fault_it_is_shows_when_all_others_go_on(database_dsn: str, sqlstate: str) -> None:
    """The server says that something is wrong inside it, always for the same row."""

    async def main() -> None:
        async with open_writer(database_dsn, linger=0.05) as (writer, pool):
            with failing(database_dsn, "poison", sqlstate):
                for number in range(6):
                    output = "poison" if number == 2 else "fine"
                    await writer.add_generation(make_generation(f"g{number}", output=output))
                await asyncio.wait_for(writer.flush(), 90)
                (row,) = await kept(pool)
                assert (row.id, row.reason) == ("g2", f"{sqlstate} no such luck")

    asyncio.run(main())
    assert count(database_dsn, "generations") == 5


@pytest.mark.parametrize("sqlstate", ["53100", "40001", "57014", "25006", "42501"])
def test_what_is_the_servers_fault_is_waited_out(database_dsn: str, sqlstate: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            with failing(database_dsn, "x = 1", sqlstate):
                await writer.add_generation(make_generation("g"))
                await asyncio.sleep(0.5)
                assert writer.backlog.rows == 1
            await asyncio.wait_for(writer.flush(), 60)
            assert await kept(pool) == []

    asyncio.run(main())
    assert count(database_dsn, "generations") == 1


def test_an_answer_of_wrong_types_is_kept_as_notes(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            await writer.add_generation(make_generation("g", total_ms={"not": "a number"}))
            await writer.flush()
            (row,) = await kept(pool)
            assert (row.id, row.kind) == ("g", "generation")

    asyncio.run(main())


def test_numbers_without_a_four_byte_form_do_not_cost_the_answer(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, _):
            g = make_generation("g", temperature=1e300, top_p=-1e300, logprobs=[-1e300, 0.0])
            await writer.add_generation(g)
            assert await writer.add_feedback(make_feedback("f", "g"))

    asyncio.run(main())
    with psycopg.connect(database_dsn) as conn:
        row = conn.execute("select logprobs, temperature > 1e38 from generations").fetchone()
    assert row == ([], True)


def test_batches_are_bounded_in_bytes(database_dsn: str) -> None:
    """Comments that are too many bytes for one message, scaled down."""

    async def main() -> None:
        async with open_writer(database_dsn, linger=0.2, batch_bytes=2**20) as (writer, _):
            await writer.add_generation(make_generation("g"))
            await writer.flush()
            comments = [
                make_feedback(f"f{n}", "g", signal="comment", text="x" * 100_000) for n in range(40)
            ]
            assert await asyncio.gather(*map(writer.add_feedback, comments)) == [True] * 40
            for number in range(40):
                await writer.add_generation(make_generation(f"g{number}", output="x" * 100_000))
            await writer.flush()

    asyncio.run(main())
    with psycopg.connect(database_dsn) as conn:
        for table in ("feedback", "generations"):
            batches = conn.execute(
                f"select count(*), count(distinct xmin::text) from {table}".encode()
            ).fetchone()
            assert batches is not None
            assert batches[0] >= 40
            assert batches[1] >= 4


def test_adding_waits_when_too_many_bytes_are_in_memory(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, capacity_bytes=1_000_000) as (writer, pool):
            async with pool.connection() as conn:
                await conn.execute("lock table generations in access exclusive mode")
                adding = [
                    asyncio.create_task(
                        writer.add_generation(make_generation(f"g{n}", output="x" * 300_000))
                    )
                    for n in range(8)
                ]
                while sum(task.done() for task in adding) < 3:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                assert sum(task.done() for task in adding) == 3
                assert 900_000 < writer.backlog.bytes < 1_000_000
            await asyncio.gather(*adding)
            # One that is larger than all that may wait is not left out.
            await writer.add_generation(make_generation("large", output="x" * 2_000_000))
            await writer.flush()
            assert (writer.backlog.rows, writer.backlog.bytes) == (0, 0)

    asyncio.run(main())
    assert count(database_dsn, "generations") == 9


def test_the_backlog_says_how_old_it_is(database_dsn: str, tmp_path: Path) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path)
        async with Writer(pool, spill=spill, late_after=2) as writer:
            await writer.add_generation(make_generation("before"))
            await writer.flush()
            assert (writer.backlog.age, writer.backlog.late) == (0.0, False)
            async with outage(database_dsn):
                await writer.add_generation(make_generation("g"))
                assert not writer.backlog.late
                await until_spilled(spill, 1)
                while not (backlog := writer.backlog).late:
                    await asyncio.sleep(0.05)
                assert backlog.rows == 1
                assert 2 < backlog.age < 3600
                assert backlog.bytes > 100
            await asyncio.wait_for(writer.flush(), 60)
            assert (writer.backlog.age, writer.backlog.late) == (0.0, False)
        await pool.close()

    asyncio.run(main())


def test_names_of_any_length_are_recorded(database_dsn: str) -> None:
    """What the gateway is sent: each of these once was more than an index takes."""

    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            long = {
                name: NOISE + name
                for name in ("user", "session", "alias", "checkpoint", "surface", "language")
            }
            await writer.add_generation(make_generation("g", endpoint="chat", **long))
            wide = "".join(chr(_RANDOM.randrange(0x10000, 0x10400)) for _ in range(512))
            await writer.add_generation(
                make_generation("h", endpoint="chat", **dict.fromkeys(long, wide))
            )
            for id in ("g", "h"):
                assert await asyncio.wait_for(writer.add_feedback(make_feedback(id, id)), 60)
            assert await kept(pool) == []

    asyncio.run(main())
    assert differences(database_dsn) == []


def test_an_answer_takes_so_much_feedback_and_no_more(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, most_feedback=20, batch_rows=7) as (writer, _):
            for id in ("g", "h"):
                await writer.add_generation(make_generation(id))
            rows = [make_feedback(f"f{n}", "g", signal="shown") for n in range(30)]
            results = await asyncio.gather(
                *map(writer.add_feedback, [*rows, make_feedback("other", "h")]),
                return_exceptions=True,
            )
            assert results[:20] == [True] * 20
            assert {type(result) for result in results[20:30]} == {TooMuchFeedback}
            assert results[30] is True
            # What is there already is still told so.
            assert await writer.add_feedback(rows[3]) is False
            with pytest.raises(ConflictingFeedback):
                await writer.add_feedback(make_feedback("f3", "g", signal="accepted"))
            with pytest.raises(TooMuchFeedback, match="has 20 rows of feedback already"):
                await writer.add_feedback(make_feedback("late", "g"))

    asyncio.run(main())
    assert count(database_dsn, "feedback") == 21
    assert differences(database_dsn) == []
