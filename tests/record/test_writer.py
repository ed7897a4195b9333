from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveweights.record import read
from liveweights.record.batch import Fate, find_new, prepare, store
from liveweights.record.binary import encode
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import ConflictingFeedback, UnknownGeneration, WriterClosed
from liveweights.record.writer import Writer
from liveweights.store.database import Pool, open_pool

from .rows import make_feedback, make_generation


@asynccontextmanager
async def open_writer(dsn: str, **options: Any) -> AsyncIterator[tuple[Writer, Pool]]:
    pool = await open_pool(dsn)
    try:
        async with Writer(pool, **options) as writer:
            yield writer, pool
    finally:
        await pool.close()


def count(dsn: str, table: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(f"select count(*) from {table}".encode()).fetchone()
        assert row is not None
        return row[0]


def stop_rows(dsn: str) -> None:
    """Let the database refuse particular rows, as it would for a reason not thought of here."""
    with psycopg.connect(dsn) as conn:
        conn.execute("alter table generations add check (output <> 'poison')")
        conn.execute("alter table feedback add check (text <> 'poison')")


def test_a_generation_comes_back_as_it_was(database_dsn: str) -> None:
    more: dict[str, Any] = {
        "healed": " ",
        "surface": "editor",
        "language": "python",
        "reasoning": "größer",
    }
    more["shaping"] = {"stop": ["\n"], "guided_by": ["min_p"]}
    g = make_generation("g", session="s", **more)

    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            await writer.add_generation(g)
            await writer.flush()
            async with pool.connection() as conn:
                assert await read.generation(conn, "g") == g
                assert await read.generation(conn, "other") is None

    asyncio.run(main())


def test_feedback_in_the_batch_of_its_generation(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, linger=0.1) as (writer, pool):
            await writer.add_generation(make_generation("g"))
            f = make_feedback("f", "g", signal="reward", value=0.1, text="größer")
            assert await writer.add_feedback(f) is True
            async with pool.connection() as conn:
                assert await read.feedback(conn, "g") == [f]

    asyncio.run(main())


@pytest.mark.parametrize("together", [True, False])
def test_repeat_conflict_and_unknown_spoil_nothing(database_dsn: str, together: bool) -> None:
    rows = [
        make_feedback("a", "g"),
        make_feedback("a", "g"),
        make_feedback("a", "g", signal="rejected"),
        make_feedback("b", "missing"),
        make_feedback("a", "g", tenant="other"),
        make_feedback("c", "g", signal="thumbs", value=1),
    ]

    async def main() -> list[object]:
        async with open_writer(database_dsn, linger=0.05) as (writer, _):
            await writer.add_generation(make_generation("g"))
            if together:
                return await asyncio.gather(*map(writer.add_feedback, rows), return_exceptions=True)
            return [
                (await asyncio.gather(writer.add_feedback(f), return_exceptions=True))[0]
                for f in rows
            ]

    new, repeat, conflict, unknown, foreign, last = asyncio.run(main())
    assert (new, repeat, last) == (True, False, True)
    assert isinstance(conflict, ConflictingFeedback)
    assert isinstance(unknown, UnknownGeneration)
    assert isinstance(foreign, UnknownGeneration)  # a tenant sees no other tenant's generations
    assert count(database_dsn, "feedback") == 2


def test_two_tenants_may_use_one_feedback_id(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, _):
            for tenant in ("one", "two"):
                await writer.add_generation(make_generation(tenant, tenant=tenant))
                assert await writer.add_feedback(make_feedback("f", tenant, tenant=tenant))

    asyncio.run(main())


def test_a_row_that_the_database_refuses_does_not_stop_the_others(database_dsn: str) -> None:
    stop_rows(database_dsn)

    async def main() -> None:
        async with open_writer(database_dsn, linger=0.05) as (writer, _):
            for number in range(9):
                output = "poison" if number == 4 else "fine"
                await writer.add_generation(make_generation(f"g{number}", output=output))
            results = await asyncio.gather(
                *(
                    writer.add_feedback(
                        make_feedback(f"f{n}", f"g{n}", text="poison" if n == 6 else None)
                    )
                    for n in range(9)
                ),
                return_exceptions=True,
            )
            assert isinstance(results[4], UnknownGeneration)
            assert isinstance(results[6], InvalidRow)
            assert [r for n, r in enumerate(results) if n not in {4, 6}] == [True] * 7

    asyncio.run(main())
    assert (count(database_dsn, "generations"), count(database_dsn, "feedback")) == (8, 7)


def test_a_value_that_cannot_be_sent_does_not_stop_the_others(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, linger=0.05) as (writer, _):
            await writer.add_generation(make_generation("a", total_ms={"not": "a number"}))
            await writer.add_generation(make_generation("b"))
            assert await writer.add_feedback(make_feedback("f", "b"))
            await writer.flush()

    asyncio.run(main())
    assert count(database_dsn, "generations") == 1


def test_feedback_that_cannot_be_kept_is_refused_at_once(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, _):
            with pytest.raises(InvalidRow, match="text has a NUL"):
                await writer.add_feedback(make_feedback("f", "g", text="\0"))

    asyncio.run(main())


def test_answers_gather_for_as_long_as_nobody_waits(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, gather=3600.0, batch_rows=4) as (writer, _):
            await writer.add_generation(make_generation("idle"))
            await writer.flush()
            await writer.add_generation(make_generation("a"))
            await asyncio.sleep(0.1)
            assert count(database_dsn, "generations") == 1
            assert await writer.add_feedback(make_feedback("f", "a"))
            assert count(database_dsn, "generations") == 2
            for name in "bcde":  # a full batch
                await writer.add_generation(make_generation(name))
            await writer.flush()
            assert count(database_dsn, "generations") == 6
            await writer.add_generation(make_generation("last"))
        assert count(database_dsn, "generations") == 7

    asyncio.run(main())


def test_adding_waits_when_too_much_is_in_memory(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, capacity=5, batch_rows=2) as (writer, pool):
            async with pool.connection() as conn:
                await conn.execute("lock table generations in access exclusive mode")
                adding = [
                    asyncio.create_task(writer.add_generation(make_generation(f"g{n}")))
                    for n in range(12)
                ]
                await asyncio.sleep(0.1)
                assert sum(task.done() for task in adding) == 5 == writer.backlog.rows
            await asyncio.gather(*adding)
            await writer.flush()
            assert writer.backlog.rows == 0

    asyncio.run(main())
    assert count(database_dsn, "generations") == 12


def test_closing_writes_everything(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, batch_rows=7) as (writer, _):
            for number in range(100):
                await writer.add_generation(make_generation(f"g{number}"))
        with pytest.raises(WriterClosed, match="nothing more can be recorded"):
            await writer.add_generation(make_generation("late"))

    asyncio.run(main())
    assert count(database_dsn, "generations") == 100


def test_closing_without_a_database_says_what_is_lost(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, close_timeout=0.2) as (writer, pool):
            async with pool.connection() as conn:
                await conn.execute("alter table generations rename to elsewhere")
            await writer.add_generation(make_generation("g"))
            waiting = asyncio.create_task(writer.add_feedback(make_feedback("f", "g")))
            await asyncio.sleep(0.05)
            tasks.append(waiting)

    tasks: list[asyncio.Task[bool]] = []

    async def both() -> None:
        with pytest.raises(WriterClosed, match="2 rows of the record could not be written"):
            await main()
        with pytest.raises(WriterClosed):
            await tasks[0]

    asyncio.run(both())


def test_lost_connections_cost_a_second_try_only(database_dsn: str) -> None:
    """Every connection is cut again and again while many tasks write, ever more rarely: on a
    busy machine no transaction may fit between two cuts at first."""

    async def cut(stop: asyncio.Event) -> None:
        pause = 0.03
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            while not stop.is_set():
                await conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
                await asyncio.sleep(pause)
                pause *= 1.05

    async def main() -> None:
        stop = asyncio.Event()
        cutter = asyncio.create_task(cut(stop))
        async with open_writer(database_dsn, batch_rows=10) as (writer, _):

            async def user(number: int) -> None:
                await writer.add_generation(make_generation(f"g{number}"))
                assert await writer.add_feedback(make_feedback(f"f{number}", f"g{number}"))

            for start in range(0, 200, 20):
                await asyncio.gather(*map(user, range(start, start + 20)))
            stop.set()
            await cutter

    asyncio.run(main())
    assert (count(database_dsn, "generations"), count(database_dsn, "feedback")) == (200, 200)


def test_a_second_try_after_an_unheard_commit_is_no_repeat(database_dsn: str) -> None:
    g, f = make_generation("g"), make_feedback("f", "g")

    async def main() -> list[list[Fate]]:
        pool = await open_pool(database_dsn)
        fates: list[list[Fate]] = []
        for again, feedback in ((False, f), (True, f), (False, f), (True, make_feedback("f", "g"))):
            async with pool.connection() as conn:
                await prepare(conn)
                new = await find_new(conn, [encode(g)])
                fates.append(await store(conn, new, [feedback], again=again))
        await pool.close()
        return fates

    assert asyncio.run(main()) == [[Fate.NEW], [Fate.NEW], [Fate.REPEAT], [Fate.REPEAT]]
    assert count(database_dsn, "generations") == 1


Step = tuple[str, int, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(["f0", "f1", "f2", "f3"]),
        st.integers(0, 3),
        st.sampled_from(["accepted", "rejected"]),
    ),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps, batch_rows=st.integers(1, 8), pauses=st.lists(st.booleans(), max_size=25))
def test_any_order_in_any_batches_is_as_if_one_by_one(
    database_dsn: str, steps: list[Step], batch_rows: int, pauses: list[bool]
) -> None:
    """Concurrent adding gives what a dictionary gives, however the rows fall into batches."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute("truncate generations, feedback, feedback_keys")
    rows = [make_feedback(id, f"g{number}", signal=signal) for id, number, signal in steps]
    expected: list[object] = []
    kept: dict[str, tuple[str, str]] = {}
    for f in rows:
        content = (f.generation, f.signal)
        if f.id in kept:
            expected.append(False if kept[f.id] == content else ConflictingFeedback)
        elif f.generation == "g3":  # never added
            expected.append(UnknownGeneration)
        else:
            kept[f.id] = content
            expected.append(True)

    async def main() -> list[object]:
        async with open_writer(database_dsn, batch_rows=batch_rows, linger=0.0) as (writer, _):
            for number in range(3):
                await writer.add_generation(make_generation(f"g{number}"))
            tasks: list[asyncio.Task[bool]] = []
            for position, f in enumerate(rows):
                tasks.append(asyncio.create_task(writer.add_feedback(f)))
                await asyncio.sleep(0)
                if position < len(pauses) and pauses[position]:
                    await asyncio.sleep(0.003)
            return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(main())
    assert [r if isinstance(r, bool) else type(r) for r in found] == expected
    with psycopg.connect(database_dsn) as conn:
        stored = conn.execute("select id, generation, signal from feedback").fetchall()
    assert {id: (generation, signal) for id, generation, signal in stored} == kept
