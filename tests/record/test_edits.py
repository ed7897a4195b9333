"""Edits are compared before they join a batch: who sends one waits for it, others do not."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest

from liveweights.record import edits
from liveweights.record.errors import UnknownGeneration, WriterClosed
from liveweights.record.survival import survival

from .rows import make_feedback, make_generation
from .test_rollups import differences
from .test_writer import open_writer


def test_an_edit_of_an_answer_that_was_just_given(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, gather=3600.0) as (writer, _):
            await writer.add_generation(make_generation("first"))
            await writer.flush()
            await writer.add_generation(make_generation("g", output="x = 1"))
            edit = make_feedback("f", "g", signal="edited", text="x = 2")
            assert await asyncio.wait_for(writer.add_feedback(edit), 60) is True
            assert await writer.add_feedback(edit) is False
            for foreign in (
                make_feedback("a", "missing", signal="edited", text="x"),
                make_feedback("b", "g", signal="edited", text="x", tenant="other"),
            ):
                with pytest.raises(UnknownGeneration):
                    await writer.add_feedback(foreign)

    asyncio.run(main())
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select survived from feedback").fetchall() == [(0.8,)]
    assert differences(database_dsn) == []


def test_others_do_not_wait_for_a_comparison(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes; another tenant's edits do not wait either, one's own keep order."""
    go = threading.Event()

    def slow(output: str, surviving: str) -> float:
        if surviving == "slow":
            go.wait(60)
        return survival(output, surviving)

    monkeypatch.setattr(edits, "survival", slow)

    async def main() -> None:
        async with open_writer(database_dsn) as (writer, _):
            await writer.add_generation(make_generation("g"))
            await writer.add_generation(make_generation("h", tenant="other"))
            await writer.flush()

            def edit(id: str, text: str) -> asyncio.Task[bool]:
                f = make_feedback(id, "g", signal="edited", text=text)
                return asyncio.create_task(writer.add_feedback(f))

            first = edit("first", "slow")
            await asyncio.sleep(0.05)
            second = edit("second", "quick")
            assert await writer.add_feedback(make_feedback("f", "g"))
            other = make_feedback("o", "h", signal="edited", text="quick", tenant="other")
            assert await writer.add_feedback(other)
            assert not first.done()
            assert not second.done()
            go.set()
            assert await asyncio.gather(first, second) == [True, True]

    asyncio.run(main())
    with psycopg.connect(database_dsn) as conn:
        found = conn.execute("select id from feedback order by seq").fetchall()
    assert [id for (id,) in found] == ["f", "o", "first", "second"]


def test_an_edit_waits_for_the_database_until_the_writer_closes(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            await writer.add_generation(make_generation("g"))
            await writer.flush()
            async with pool.connection() as conn:
                await conn.execute("alter table generations rename to away")
                await conn.commit()
                edit = make_feedback("f", "g", signal="edited", text="x")
                waiting = asyncio.create_task(writer.add_feedback(edit))
                await asyncio.sleep(0.3)
                assert not waiting.done()
                await conn.execute("alter table away rename to generations")
                await conn.commit()
            assert await waiting is True

    asyncio.run(main())


def test_an_edit_that_waits_is_told_when_the_writer_closes(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn, close_timeout=0.05) as (writer, pool):
            async with pool.connection() as conn:
                await conn.execute("alter table generations rename to away")
            edit = make_feedback("f", "g", signal="edited", text="x")
            waiting = asyncio.create_task(writer.add_feedback(edit))
            await asyncio.sleep(0.1)
        with pytest.raises(WriterClosed):
            await asyncio.wait_for(waiting, 60)

    asyncio.run(main())
