"""What was recorded is in Postgres or on disk by the time that the writer has to end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from liveweights.record.errors import WriterClosed
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

from .rows import make_feedback, make_generation
from .test_rollups import differences
from .test_writer import count


def test_a_server_that_does_not_answer_does_not_delay_the_end(
    database_dsn: str, tmp_path: Path
) -> None:
    """The transaction under way hangs, and what waits behind it; the disk is over its limit."""

    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path, limit=0)
        writer = Writer(pool, spill=spill, batch_rows=3, capacity=6, close_timeout=0.3)
        await writer.__aenter__()
        async with pool.connection() as conn:
            await conn.execute("lock table generations in access exclusive mode")
            adding = [
                asyncio.create_task(writer.add_generation(make_generation(f"g{n}")))
                for n in range(10)  # four of them wait for room
            ]
            reacting = asyncio.create_task(writer.add_feedback(make_feedback("f", "g0")))
            while sum(task.done() for task in adding) < 6:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert sum(task.done() for task in adding) == 6
            began = time.monotonic()
            await writer.__aexit__(None, None, None)
            assert time.monotonic() - began < 30
            await asyncio.gather(*adding)
            with pytest.raises(WriterClosed):
                await reacting
            assert spill.rows == 10
        async with Writer(pool, spill=spill) as writer:
            await writer.flush()
            assert await writer.add_feedback(make_feedback("f", "g0"))
        assert spill.rows == 0
        await pool.close()

    asyncio.run(main())
    assert count(database_dsn, "generations") == 10
    assert differences(database_dsn) == []


def test_an_answer_that_is_given_while_the_writer_closes_is_kept(
    database_dsn: str, tmp_path: Path
) -> None:
    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path)
        writer = Writer(pool, spill=spill, close_timeout=3)
        await writer.__aenter__()
        async with pool.connection() as conn:
            await conn.execute("lock table generations in access exclusive mode")
            await writer.add_generation(make_generation("before"))
            closing = asyncio.create_task(writer.__aexit__(None, None, None))
            await asyncio.sleep(0.1)
            await writer.add_generation(make_generation("late"))
            with pytest.raises(WriterClosed):
                await writer.add_feedback(make_feedback("f", "late"))
            await closing
        assert {row.id for row in spill.oldest()} == {"before", "late"}
        with pytest.raises(WriterClosed):
            await writer.add_generation(make_generation("too late"))
        await pool.close()

    asyncio.run(main())


def test_without_a_disk_closing_says_what_is_lost(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(rows: object) -> None:
        raise OSError("no space left on device")

    async def main() -> None:
        pool = await open_pool(database_dsn)
        spill = Spill(tmp_path)
        monkeypatch.setattr(spill, "append", full)
        writer = Writer(pool, spill=spill, close_timeout=0.1)
        await writer.__aenter__()
        async with pool.connection() as conn:
            await conn.execute("lock table generations in access exclusive mode")
            await writer.add_generation(make_generation("g"))
            with pytest.raises(WriterClosed, match="1 rows of the record could not be written"):
                await writer.__aexit__(None, None, None)
        await pool.close()

    asyncio.run(main())
