from __future__ import annotations

import asyncio

import psycopg

from liveweights.record.example import Example
from liveweights.record.examples import read_examples
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

from .rows import make_feedback, make_generation


def test_answers_come_in_the_order_asked_for_with_all_that_was_said(database_dsn: str) -> None:
    day = 86_400_000
    first, second, third, gone = (
        f"gen_{1_700_000_000_000 + n * day:012x}70008000{n:012x}" for n in range(4)
    )

    async def main() -> list[Example]:
        pool = await open_pool(database_dsn)
        async with Writer(pool, linger=0.0) as writer:
            for id in (first, second, third):
                await writer.add_generation(make_generation(id))
            await writer.add_feedback(make_feedback("a", third, signal="rejected"))
            await writer.add_feedback(make_feedback("b", second))
            await writer.add_feedback(make_feedback("c", third, signal="comment", text="too long"))
        await pool.close()
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            return await read_examples(conn, [third, gone, first])

    found = asyncio.run(main())
    assert [example.generation.id for example in found] == [third, first]
    assert [[f.id for f in example.feedback] for example in found] == [["a", "c"], []]
