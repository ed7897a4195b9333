from __future__ import annotations

import asyncio

import pytest

from liveweights.http.glance import Glance


def test_all_who_ask_share_one_look() -> None:
    async def scenario() -> None:
        looks = 0

        async def look() -> int:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0)
            return looks

        glance = Glance(look, 60)
        assert await asyncio.gather(*(glance() for _ in range(20))) == [1] * 20
        assert await glance() == 1
        glance._until = 0.0  # a minute later
        assert await glance() == 2

    asyncio.run(scenario())


def test_a_look_that_failed_is_told_and_not_kept() -> None:
    async def scenario() -> None:
        found = iter([OSError("away"), 2])

        async def look() -> int:
            await asyncio.sleep(0)
            if isinstance(each := next(found), OSError):
                raise each
            return each

        glance = Glance(look, 60)
        told = await asyncio.gather(glance(), glance(), return_exceptions=True)
        assert [str(error) for error in told] == ["away", "away"]
        assert await glance() == 2

    asyncio.run(scenario())


def test_who_leaves_does_not_end_the_look_of_others() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def look() -> int:
            await go.wait()
            return 1

        glance = Glance(look)
        first, second = asyncio.create_task(glance()), asyncio.create_task(glance())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go.set()
        assert await second == 1

    asyncio.run(scenario())
