"""While Postgres is away: what is kept, where, and that nothing is written twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from liveweights.record.errors import WriterClosed
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

from .rows import make_feedback, make_generation
from .test_rollups import differences
from .test_writer import count


@asynccontextmanager
async def outage(dsn: str) -> AsyncIterator[None]:
    """The database refuses every batch, as a server does that is starting up."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("alter table series rename to gone")
        try:
            yield
        finally:
            await conn.execute("alter table gone rename to series")


async def until_spilled(spill: Spill, rows: int) -> None:
    while spill.rows < rows:
        await asyncio.sleep(0.01)


def test_answers_go_to_disk_and_then_to_postgres_once(database_dsn: str, tmp_path: Path) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path)
        async with Writer(pool, capacity=20, batch_rows=8, spill=spill) as writer:
            await writer.add_generation(make_generation("before"))
            await writer.flush()
            async with outage(database_dsn):
                for number in range(50):  # more than fit into memory
                    await writer.add_generation(make_generation(f"g{number}"))
                reacting = [
                    asyncio.create_task(writer.add_feedback(make_feedback(f"f{id}", id)))
                    for id in ("before", "g7", "g49")
                ]
                await until_spilled(spill, 50)
                assert not any(task.done() for task in reacting)  # only Postgres acknowledges
                assert writer.backlog.rows == 53
            assert await asyncio.gather(*reacting) == [True] * 3
            await writer.flush()
            assert (writer.backlog.rows, spill.rows) == (0, 0)
        await pool.close()

    asyncio.run(main())
    assert (count(database_dsn, "generations"), count(database_dsn, "feedback")) == (51, 3)
    assert differences(database_dsn) == []


def test_what_a_writer_leaves_on_disk_the_next_one_writes(
    database_dsn: str, tmp_path: Path
) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path)
        async with outage(database_dsn):
            async with Writer(pool, spill=spill, close_timeout=0.05) as writer:
                await writer.add_generation(make_generation("g"))
                reacting = asyncio.create_task(writer.add_feedback(make_feedback("f", "g")))
                await asyncio.sleep(0.02)
            with pytest.raises(WriterClosed):
                await reacting
            assert spill.rows >= 1
        spill.append(spill.oldest())  # as if killed after writing, before removing
        async with Writer(pool, spill=spill) as writer:
            await writer.flush()
            assert await writer.add_feedback(make_feedback("f", "g"))
        await pool.close()

    asyncio.run(main())
    assert (count(database_dsn, "generations"), count(database_dsn, "feedback")) == (1, 1)
    assert differences(database_dsn) == []


def test_when_the_disk_is_full_too_adding_waits(database_dsn: str, tmp_path: Path) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path, limit=1)
        async with Writer(pool, capacity=5, spill=spill) as writer:
            async with outage(database_dsn):
                adding = [
                    asyncio.create_task(writer.add_generation(make_generation(f"g{n}")))
                    for n in range(30)
                ]
                await until_spilled(spill, 1)
                await asyncio.sleep(0.3)
                assert sum(task.done() for task in adding) < 30
            await asyncio.gather(*adding)
            await writer.flush()
        await pool.close()

    asyncio.run(main())
    assert count(database_dsn, "generations") == 30
