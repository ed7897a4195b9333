from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from liveweights.record import read
from liveweights.record.errors import ConflictingFeedback, UnknownEpisode
from liveweights.record.writer import Writer
from liveweights.store.database import Pool, open_pool

from .rows import START, make_feedback, make_generation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def open_writer(dsn: str) -> AsyncGenerator[tuple[Writer, Pool]]:
    pool = await open_pool(dsn)
    try:
        async with Writer(pool) as writer:
            yield writer, pool
    finally:
        await pool.close()


def test_steps_are_in_the_order_they_were_asked_for(database_dsn: str) -> None:
    async def main() -> None:
        async with open_writer(database_dsn) as (writer, _):
            for place, id in enumerate(("c", "a", "b")):
                at = START + timedelta(minutes=place)
                await writer.add_generation(
                    make_generation(id, created_at=at, metadata={"episode": "e"}, session="s")
                )
            other = {"metadata": {"episode": "e"}, "tenant": "other", "session": "s"}
            await writer.add_generation(make_generation("d", **other))
            await writer.add_generation(make_generation("f", session="s", endpoint="chat"))
            assert await writer.steps("default", "e", session=False) == ["c", "a", "b"]
            assert await writer.steps("default", "s", session=True) == ["f"]
            with pytest.raises(UnknownEpisode):
                await writer.steps("default", "s", session=False)

    asyncio.run(main())


def test_a_conversation_is_named_after_its_first_response(database_dsn: str) -> None:
    root = f"gen_{1_700_000_000_000:012x}7000800000000000000a"

    async def main() -> None:
        async with open_writer(database_dsn) as (writer, _):
            first = make_generation(root, metadata={})
            name = root.replace("gen_", "resp_")
            await writer.add_generation(first)
            later = START + timedelta(days=1)
            await writer.add_generation(
                make_generation("next", created_at=later, metadata={"episode": name})
            )
            assert await writer.steps("default", name, session=False) == [root, "next"]

    asyncio.run(main())


def test_an_outcome_comes_back_with_its_episode(database_dsn: str) -> None:
    outcome = make_feedback("o/g", "g", signal="reward", value=1.0, episode="e")
    other = make_feedback("o/g", "g", signal="reward", value=1.0, episode="another")

    async def main() -> None:
        async with open_writer(database_dsn) as (writer, pool):
            await writer.add_generation(make_generation("g", metadata={"episode": "e"}))
            assert await writer.add_feedback(outcome) is True
            assert await writer.add_feedback(outcome) is False
            with pytest.raises(ConflictingFeedback):
                await writer.add_feedback(other)
            async with pool.connection() as conn:
                assert await read.feedback(conn, "g") == [outcome]
                cursor = await conn.execute("select generation, episode from reactions")
                assert await cursor.fetchall() == [("g", "e")]

    asyncio.run(main())
