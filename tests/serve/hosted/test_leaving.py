"""Callers of hosted models that leave, or whose deadline passes, before an answer in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tests.serve.gateway.stub import USAGE

from liveweights.meter.budgets import Budget
from liveweights.meter.charges import assess
from liveweights.meter.limits import Limiter
from liveweights.meter.price_book import Held, PriceBook
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.settings import RateLimits
from liveweights.record.binary import encode
from liveweights.serve.api.settings import ApiSettings

from .stage import Stage
from .test_door import play

PRICE = PriceRow(id=1, since=EPOCH, model="big", input=5 * 10**6, output=20 * 10**6, request=9)
COST = replace(PRICE, id=2, side="cost", input=10**6, output=3 * 10**6, request=0)
ALL = 5 * USAGE["prompt_tokens"] + 20 * USAGE["completion_tokens"] + 9
PAID = USAGE["prompt_tokens"] + 3 * USAGE["completion_tokens"]


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def leave(asking: asyncio.Task[Any]) -> None:
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


def charged(stage: Stage) -> tuple[str, int, int]:
    row = encode(stage.recorder.only())
    return assess(Held(PRICE, COST), row.counts, withheld=row.withheld)


def test_an_answer_whose_caller_leaves_is_recorded_and_charged() -> None:
    async def act(stage: Stage) -> None:
        server = stage.servers["big"]
        gate = server.gate = asyncio.Event()
        asking = asyncio.create_task(stage.ask())
        await until(lambda: server.requests)
        await asyncio.sleep(0.1)
        await leave(asking)
        await asyncio.sleep(0.1)
        gate.set()
        await until(lambda: stage.recorder.generations)
        row = stage.recorder.only()
        assert (row.output, row.finish_reason, row.usage) == ("Paris", "stop", USAGE)
        assert charged(stage) == ("sampled", ALL, PAID)

    play(act)


def test_an_answer_that_misses_its_deadline_is_recorded_with_its_cost() -> None:
    """And spends the model's own budget, which is for what its upstream asks."""
    limiter = Limiter(RateLimits(), {}, find_price=PriceBook([PRICE, COST]).find)

    async def act(stage: Stage) -> None:
        server = stage.servers["big"]
        gate = server.gate = asyncio.Event()
        asked = {"max_tokens": 6, "headers": {"x-request-timeout": "2"}}
        response, body = await stage.ask(**asked)
        assert (response.status, b"deadline_exceeded" in body) == (408, True)
        assert not stage.recorder.generations
        gate.set()
        await until(lambda: stage.recorder.generations)
        row = stage.recorder.only()
        assert (row.output, row.usage) == ("Paris", USAGE | {"sent_tokens": 0})
        assert charged(stage) == ("sent", 0, PAID)
        # The most that the next one can cost is more than what is left of the budget.
        response, body = await stage.ask(max_tokens=6)
        assert (response.status, b"insufficient_quota" in body) == (429, True)
        assert len(server.requests) == 1

    more = {"budgets": (Budget(period="all", nanos=PAID + 20),)}
    play(act, limiter=limiter, more=more)


def test_it_is_given_up_after_a_while() -> None:
    async def act(stage: Stage) -> None:
        server = stage.servers["big"]
        server.gate = asyncio.Event()
        asking = asyncio.create_task(stage.ask())
        await until(lambda: server.requests)
        await leave(asking)
        await until(lambda: server.left)
        async with stage.client.get("/metrics") as answer:
            counted = 'liveweights_unrecorded_answers_total{reason="abandoned"} 1.0'
            assert counted in await answer.text()
        assert not stage.recorder.generations

    play(act, settings=ApiSettings(abandoned_seconds=0.2))


def test_nobody_else_is_asked_for_who_has_left() -> None:
    async def act(stage: Stage) -> None:
        server = stage.servers["a"]
        await server.become("hangs", timeout=2)
        asking = asyncio.create_task(stage.ask(model="a"))
        await until(lambda: server.requests)
        await leave(asking)
        await until(lambda: server.left)
        await asyncio.sleep(0.3)
        assert stage.servers["b"].requests == []
        assert stage.engine.calls == []
        await stage.forget()
        assert (await stage.ask(model="a"))[0].headers["x-model"] == "a"

    play(act, {"a": ("b", "tiny"), "b": ()})
