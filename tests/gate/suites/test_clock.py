from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from liveweights.gate.suites.clock import Clock, off_the_clock, running


async def count(seconds: float, work: Callable[[], Awaitable[None]]) -> Clock:
    """The clock of ``work``."""
    patience = asyncio.timeout(seconds)
    clock = Clock(patience)
    async with patience:
        with running(clock):
            await work()
    return clock


def test_what_is_off_the_clock_does_not_count_also_where_it_overlaps() -> None:
    async def wait(before: float, seconds: float) -> None:
        await asyncio.sleep(before)
        with off_the_clock():
            await asyncio.sleep(seconds)

    async def work() -> None:
        await asyncio.gather(wait(0.0, 1.3), wait(0.2, 1.3))

    began = time.monotonic()
    clock = asyncio.run(count(1.0, work))
    assert clock.seconds < time.monotonic() - began - 1.0


def test_time_before_can_be_given_back_and_what_is_left_is_left() -> None:
    async def work() -> None:
        for _ in range(4):
            await asyncio.sleep(0.3)
            with off_the_clock(back=0.3):
                await asyncio.sleep(0)

    asyncio.run(count(1.0, work))

    async def slow() -> None:
        with off_the_clock():
            await asyncio.sleep(0)
        await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        asyncio.run(count(0.2, slow))


def test_what_went_by_is_given_back_once_whoever_waited_for_it() -> None:
    async def wait(back: float) -> None:
        await asyncio.sleep(back)
        with off_the_clock(back):
            await asyncio.sleep(0)

    async def work() -> None:
        await asyncio.gather(wait(0.4), wait(0.5), wait(0.6))
        await asyncio.sleep(0.3)

    clock = asyncio.run(count(5.0, work))
    assert clock.seconds >= 0.3


def test_where_no_clock_runs_or_it_has_ended_nothing_happens() -> None:
    async def go() -> None:
        with off_the_clock():
            pass
        left: list[asyncio.Task[None]] = []

        async def late() -> None:
            with off_the_clock():
                await asyncio.sleep(0.1)

        async def work() -> None:
            left.append(asyncio.create_task(late()))
            await asyncio.sleep(0)

        await count(1.0, work)
        await left[0]

    asyncio.run(go())
