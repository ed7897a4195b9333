"""Requests that wait for their model, and models that take turns in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from liveweights.serve.memory.memory import Memory, NoRoom, NotLoaded, Share, Unloaded

SIZE = 10


@dataclass
class Deployed:
    """A model and what a deployer does for it: it loads when it is woken, and unloads when it
    sleeps and nobody holds it."""

    share: Share
    size: int = SIZE
    held: int = 0
    loads: int = 0
    broken: str | None = None
    """Why it cannot be loaded."""
    loading: asyncio.Task[None] | None = None
    users: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        self.woken.set()
        while True:
            await self.woken.wait()
            self.woken.clear()
            if self.share.awake and not self.held and self.loading is None:
                self.loading = asyncio.create_task(self._load())
            elif not self.share.awake and self.held:
                while self.users:
                    await asyncio.sleep(0)
                self.held = 0
                self.share.unloaded()
            self.share.settle(there=self.held > 0, warm=False, failure=self.broken)

    async def _load(self) -> None:
        try:
            await self.share.reserve("m@1", self.size)
            await asyncio.sleep(0)
            if self.broken is None:
                self.held, self.loads = self.size, self.loads + 1
        except NoRoom as error:
            self.broken = str(error)
        except Unloaded:
            pass
        finally:
            self.loading = None
            self.share.loaded("m@1")
            self.woken.set()

    async def ask(self, turns: int = 1) -> float:
        async with self.share.use() as waited:
            assert self.held, "it answers while it is not loaded"
            self.users += 1
            for _ in range(turns):
                await asyncio.sleep(0)
            self.users -= 1
            return waited


Test = Callable[[Memory, list[Deployed]], Awaitable[None]]


def play(
    test: Test,
    count: int = 3,
    *,
    room: int = 2,
    pinned: int = 0,
    waiting: int = 8,
    seconds: float = 5.0,
    size: int = SIZE,
) -> None:
    async def run() -> None:
        memory = Memory(room * SIZE, most_waiting=waiting, seconds=seconds, patience=0.0)
        models = list[Deployed]()
        for number in range(count):
            share = memory.share(f"m{number}", lambda: 0, pinned=number < pinned)
            model = Deployed(share, size)
            share.measure = lambda model=model: model.held
            share.wake = model.woken.set
            models.append(model)
        running = [asyncio.create_task(model.run()) for model in models]
        try:
            async with asyncio.timeout(20):
                await test(memory, models)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def states(models: list[Deployed]) -> list[str]:
    return [model.share.state for model in models]


def test_at_the_start_what_fits_is_loaded_and_the_rest_when_it_is_asked_for() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        await until(lambda: states(models) == ["ready", "ready", "cold"])
        assert await models[0].ask() == 0.0
        assert await models[2].ask() > 0.0
        assert states(models) == ["ready", "cold", "ready"]
        assert [model.loads for model in models] == [1, 1, 1]

    play(test)


def test_a_model_with_requests_in_flight_is_not_unloaded_under_them() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        one, other = models
        await until(lambda: one.share.state == "ready")
        long = asyncio.create_task(one.ask(turns=50))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(other.ask())
        for _ in range(20):
            await asyncio.sleep(0)
            assert one.held
            assert not other.held
        assert await long == 0.0
        assert await waiting > 0.0

    play(test, 2, room=1)


def test_a_pinned_model_stays() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        await until(lambda: models[0].share.state == "ready")
        for model in models[1:] * 2:
            await model.ask()
        assert models[0].loads == 1
        assert models[0].share.state == "ready"

    play(test, 4, pinned=1)


def test_the_queue_is_bounded_and_has_a_deadline() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        one, other = models
        await until(lambda: one.share.state == "ready")
        async with one.share.use():
            one.users += 1  # and it never ends
            asked = [asyncio.create_task(other.ask()) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(NotLoaded, match="3 requests wait for it to be loaded"):
                await other.ask()
            for task in asked:
                with pytest.raises(NotLoaded, match=r"could not be loaded within 0\.2 s"):
                    await task
            one.users -= 1
        await until(lambda: not one.held)
        assert await other.ask() >= 0.0

    play(test, 2, room=1, waiting=3, seconds=0.2)


def test_what_can_never_fit_is_told_at_once() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        [one] = models
        await until(lambda: one.share.state == "cold")
        with pytest.raises(AssertionError, match="not loaded"):  # the router refuses it then
            await one.ask()
        assert "needs" in (one.broken or "")
        assert "models.memory_gib" in (one.broken or "")
        assert one.share.state == "failed"

    play(test, 1, room=1, size=11)


def test_who_leaves_while_waiting_is_waited_for_no_more() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        one, other = models
        await until(lambda: one.share.state == "ready")
        async with one.share.use():
            one.users += 1
            leaving = asyncio.create_task(other.ask())
            await asyncio.sleep(0)
            assert other.share.users == 1
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            assert other.share.users == 0
            one.users -= 1

    play(test, 2, room=1)


def test_ten_models_with_room_for_three_answer_all() -> None:
    async def test(memory: Memory, models: list[Deployed]) -> None:
        highest = 0

        async def ask(number: int) -> None:
            nonlocal highest
            for turn in range(20):
                await models[(7 * number + turn * turn) % 10].ask(turns=turn % 5)
                highest = max(highest, sum(model.held for model in models))

        await asyncio.gather(*(ask(number) for number in range(12)))
        assert highest <= memory.budget

    play(test, 10, room=3, waiting=64)
