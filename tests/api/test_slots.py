from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.api.slots import QueueFull, Slots


def test_first_come_first_served() -> None:
    async def scenario() -> None:
        slots, order = Slots(2, 10), []

        async def work(name: int, wanted: int) -> None:
            async with slots.hold(wanted):
                order.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(name, 1 + name % 3) for name in range(8)))
        assert order == list(range(8))
        assert (slots.running, slots.waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario() -> None:
        slots = Slots(1, 1)
        async with slots.hold(1):
            second = asyncio.create_task(slots.hold(1).__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(QueueFull, match="1 requests are waiting"):
                await slots.hold(1).__aenter__()
        await second
        assert slots.running == 1

    asyncio.run(scenario())


@settings(deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(0, 6)), max_size=12),
)
def test_whatever_is_cancelled_no_slot_is_lost(size: int, jobs: list[tuple[int, int, int]]) -> None:
    async def scenario() -> None:
        slots = Slots(size, 100)

        async def work(wanted: int, steps: int) -> None:
            async with slots.hold(wanted):
                assert slots.running <= size
                for _ in range(steps):
                    await asyncio.sleep(0)

        async def cancelled(wanted: int, steps: int, patience: int) -> None:
            task = asyncio.create_task(work(wanted, steps))
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        await asyncio.gather(*(cancelled(*job) for job in jobs))
        assert (slots.running, slots.waiting) == (0, 0)

    asyncio.run(scenario())
