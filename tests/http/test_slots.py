from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.http.slots import QueueFull, Slots


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
    st.integers(0, 6),
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(0, 6), st.sampled_from("abc")),
        max_size=12,
    ),
)
def test_whatever_is_cancelled_no_slot_is_lost(
    size: int, queue: int, jobs: list[tuple[int, int, int, str]]
) -> None:
    async def scenario() -> None:
        slots = Slots(size, queue)

        async def work(wanted: int, steps: int, tenant: str) -> None:
            async with slots.hold(wanted, tenant=tenant):
                assert slots.waiting <= queue
                assert slots.running <= size
                for _ in range(steps):
                    await asyncio.sleep(0)

        async def cancelled(wanted: int, steps: int, patience: int, tenant: str) -> None:
            task = asyncio.create_task(work(wanted, steps, tenant))
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError, QueueFull):
                await task

        await asyncio.gather(*(cancelled(*job) for job in jobs))
        assert (slots.running, slots.waiting) == (0, 0)

    asyncio.run(scenario())


def test_tenants_take_turns() -> None:
    async def scenario() -> None:
        slots, order = Slots(1, 100), []

        async def work(tenant: str) -> None:
            async with slots.hold(1, tenant=tenant):
                order.append(tenant)
                await asyncio.sleep(0)

        async with slots.hold(1):
            crowd = [asyncio.create_task(work("a")) for _ in range(6)]
            await asyncio.sleep(0)
            others = [asyncio.create_task(work(tenant)) for tenant in "bcb"]
            await asyncio.sleep(0)
        await asyncio.gather(*crowd, *others)
        assert "".join(order) == "abcabaaaa"
        assert (slots.running, slots.waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_full_queue_sends_away_the_last_of_the_crowd() -> None:
    async def scenario() -> None:
        slots, order, refused = Slots(1, 4), [], []

        async def work(name: str) -> None:
            try:
                async with slots.hold(1, tenant=name[0]):
                    order.append(name)
            except QueueFull:
                refused.append(name)

        async with slots.hold(1):
            tasks = []
            for name in ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "a5", "c1"):
                tasks.append(asyncio.create_task(work(name)))
                await asyncio.sleep(0)
            assert slots.waiting == 4
        await asyncio.gather(*tasks)
        assert order == ["a1", "b1", "c1", "a2"] or order == ["a1", "b1", "c1", "b2"]
        assert set(order) | set(refused) == {"a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "c1"}

    asyncio.run(scenario())


def test_who_is_patient_is_not_sent_away() -> None:
    async def scenario() -> None:
        slots = Slots(1, 2)
        async with slots.hold(1):
            own = [
                asyncio.create_task(slots.enter(1, tenant="own", patient=True)) for _ in range(5)
            ]
            await asyncio.sleep(0)
            with pytest.raises(QueueFull):
                await slots.enter(1, tenant="a")
        for waiting in own:
            slots.leave(await waiting)

    asyncio.run(scenario())
