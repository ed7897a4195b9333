"""Clients that leave at every point of an answer: what the record, the ledger and the budget say of
it, with the gateway's own writer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.meter.stored import with_rights
from tests.meter.test_ledger import add, rows

from liveweights.meter.budgets import Budget
from liveweights.meter.keys import Keys
from liveweights.meter.ledger import Ledger
from liveweights.meter.limits import Account, Limiter
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import EPOCH, Price, price_from
from liveweights.meter.settings import RateLimits
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.serve.api.app import make_authenticator, make_limiter
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.answer import Answer
from liveweights.serve.gateway.counts import asked_text, count_bytes
from liveweights.serve.gateway.transcript import LONGEST
from liveweights.store.database import open_pool

from .stub import USAGE, WORDS, Scene, Stub, scene

PRICE = replace(price_from(Price(input=0.5, output=2.0, request=0.0001), "big"), since=EPOCH)
COST = replace(PRICE, side="cost", input=100_000_000, output=300_000_000, request=0)
MONEY = 10**9
OPERATOR = "operator-0123456789"
MESSAGES = [{"role": "user", "content": "Capital?"}]
PROMPT = count_bytes(asked_text(json.dumps({"messages": MESSAGES})))
"""Tokens of it, where the upstream does not say."""


def price(prompt: int, output: int) -> int:
    """What is charged for so many tokens, in nanos."""
    return 500 * prompt + 2000 * output + 100_000


def cost(prompt: int, output: int) -> int:
    """What the upstream asks for them."""
    return 100 * prompt + 300 * output


USED = USAGE["prompt_tokens"], USAGE["completion_tokens"]
ALL = ("sampled", price(*USED), cost(*USED))


def whole(*texts: str) -> bytes:
    choices = [
        {"index": index, "message": {"content": text}, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    return json.dumps({"model": "big-1", "choices": choices, "usage": USAGE}).encode()


@dataclass
class Shop:
    """A gateway whose callers pay, and the database that its answers are booked in."""

    stage: Scene
    limiter: Limiter
    keys: Keys
    key: str
    writer: Writer
    dsn: str

    def ask(self, **asked: Any) -> asyncio.Task[Any]:
        headers = {"authorization": f"Bearer {self.key}"}
        asking = self.stage.ask(messages=MESSAGES, max_tokens=9, headers=headers, **asked)
        return asyncio.create_task(asking)

    async def account(self) -> Account:
        client = self.keys.find(self.key)
        assert client is not None
        return await self.limiter.look(client)

    async def spent(self) -> int:
        """Of the key's budget, once nothing is reserved of it."""
        while True:
            (money,) = (await self.account()).money
            if not money.holding.reserved:
                return money.holding.used + money.holding.total
            await asyncio.sleep(0.01)

    def booked(self) -> list[tuple[Any, ...]]:
        return rows(self.dsn, "select rule, amount, cost from ledger order by id")

    def recorded(self) -> list[tuple[Any, ...]]:
        return rows(self.dsn, "select output, finish_reason from generations order by id")

    async def metrics(self) -> str:
        headers = {"authorization": f"Bearer {OPERATOR}"}
        async with self.stage.client.get("/metrics", headers=headers) as answer:
            return await answer.text()


@asynccontextmanager
async def shop(
    dsn: str, stub: Stub, book: PriceBook, recorder: Any = None, **settings: Any
) -> AsyncIterator[Shop]:
    """``recorder`` stands between the gateway and the writer."""
    key, keys = with_rights(budgets=(Budget(period="all", nanos=MONEY),))
    api = ApiSettings(require_keys=True, operator_key=OPERATOR, max_chat_tokens=100, **settings)
    limiter = make_limiter(api, find_price=book.find)
    pool = await open_pool(dsn)
    async with (
        Writer(pool, charge=Ledger()) as writer,
        scene(
            stub,
            api,
            recorder=recorder(writer) if recorder else writer,
            authenticator=make_authenticator(api, keys=keys),
            limiter=limiter,
        ) as stage,
    ):
        yield Shop(stage, limiter, keys, key, writer, dsn)
    await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def leave(asking: asyncio.Task[Any]) -> None:
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


def play(dsn: str, act: Callable[[Shop], Awaitable[None]], stub: Stub, **how: Any) -> None:
    book = PriceBook([add(dsn, row) for row in (PRICE, COST)])

    async def run() -> None:
        async with asyncio.timeout(60), shop(dsn, stub, book, **how) as there:
            await act(there)

    asyncio.run(run())


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("texts", [("Paris.",), ("Paris.", "London?")])
def test_an_answer_in_one_piece_is_read_to_its_end(
    database_dsn: str, halfway: bool, texts: tuple[str, ...]
) -> None:
    gate = asyncio.Event()
    stub = Stub(answer=whole(*texts), hold=gate, halfway=halfway)

    async def act(there: Shop) -> None:
        asking = there.ask(n=len(texts))
        await until(lambda: bool(stub.requests))
        await asyncio.sleep(0.1)
        await leave(asking)
        (money,) = (await there.account()).money
        assert money.holding.reserved > 0
        assert there.recorded() == []
        gate.set()
        assert await there.spent() == ALL[1]
        await there.writer.flush()
        assert there.recorded() == [(text, "stop") for text in texts]
        # All choices are counted with the first one.
        assert there.booked() == [ALL, *[("sampled", 0, 0)] * (len(texts) - 1)]
        assert not stub.left.is_set()

    play(database_dsn, act, stub)


def test_it_keeps_its_place_until_then(database_dsn: str) -> None:
    gate = asyncio.Event()
    stub = Stub(answer=whole("Paris."), hold=gate)

    async def act(there: Shop) -> None:
        asking = there.ask()
        await until(lambda: bool(stub.requests))
        await leave(asking)
        await asyncio.sleep(0.1)
        response, _ = await there.ask()
        assert response.status == 429
        gate.set()
        await there.spent()
        response, _ = await there.ask()
        assert response.status == 200
        assert len(stub.requests) == 2

    play(database_dsn, act, stub, limits=RateLimits(concurrency=1))


def test_it_is_given_up_where_it_takes_too_long(database_dsn: str) -> None:
    stub = Stub(answer=whole("Paris."), hold=asyncio.Event(), halfway=True)

    async def act(there: Shop) -> None:
        asking = there.ask()
        await until(lambda: bool(stub.requests))
        await leave(asking)
        await stub.left.wait()
        assert await there.spent() == 0
        await there.writer.flush()
        assert (there.recorded(), there.booked()) == ([], [])
        counted = 'liveweights_unrecorded_answers_total{reason="abandoned"} 1.0'
        assert counted in await there.metrics()

    play(database_dsn, act, stub, abandoned_seconds=0.3)


@pytest.mark.parametrize("left", [True, False])
def test_it_is_charged_where_it_is_too_long_to_be_kept(database_dsn: str, left: bool) -> None:
    gate = asyncio.Event()
    stub = Stub(answer=whole("x" * 3 * LONGEST), hold=gate, halfway=True)

    async def act(there: Shop) -> None:
        asking = there.ask()
        await until(lambda: bool(stub.requests))
        if left:
            await leave(asking)
            await asyncio.sleep(0.1)
        gate.set()
        if not left:
            response, body = await asking
            assert (response.status, body) == (200, stub.answer)
        assert await there.spent() == ALL[1]
        await there.writer.flush()
        assert (there.recorded(), there.booked()) == ([("", "cancelled")], [ALL])
        assert 'liveweights_unfit_values_total{field="output"} 1.0' in await there.metrics()

    play(database_dsn, act, stub)


def test_a_long_one_is_given_up_where_it_takes_too_long(database_dsn: str) -> None:
    stub = Stub(answer=whole("x" * 3 * LONGEST), hold=asyncio.Event(), halfway=True)

    async def act(there: Shop) -> None:
        asking = there.ask()
        await until(lambda: bool(stub.requests))
        await leave(asking)
        await stub.left.wait()
        assert await there.spent() == 0
        counted = 'liveweights_unrecorded_answers_total{reason="abandoned"} 1.0'
        assert counted in await there.metrics()

    play(database_dsn, act, stub, abandoned_seconds=0.5)


def test_it_is_charged_where_a_stream_was_asked_for(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the upstream gave the whole at once."""
    gate, read = asyncio.Event(), asyncio.Event()
    whole_of = Answer.whole

    async def read_whole(self: Answer, longest: int) -> bytes:
        read.set()
        return await whole_of(self, longest)

    monkeypatch.setattr(Answer, "whole", read_whole)
    stub = Stub(answer=whole("Paris."), hold=gate, halfway=True)

    async def act(there: Shop) -> None:
        asking = there.ask(stream=True)
        await until(lambda: bool(stub.requests))
        await read.wait()
        await leave(asking)
        await asyncio.sleep(0.1)
        gate.set()
        assert await there.spent() == ALL[1]
        await there.writer.flush()
        assert there.booked() == [ALL]

    play(database_dsn, act, stub)


def test_a_stream_is_charged_for_what_was_sent(database_dsn: str) -> None:
    stub = Stub(gate=asyncio.Event())
    said = PROMPT, count_bytes(WORDS[0])

    async def act(there: Shop) -> None:
        headers = {"authorization": f"Bearer {there.key}"}
        asked = {"model": "big", "messages": MESSAGES, "stream": True, "max_tokens": 9}
        client = there.stage.client
        async with client.post("/v1/chat/completions", json=asked, headers=headers) as response:
            await response.content.readany()
            response.close()
        await stub.left.wait()
        assert await there.spent() == price(*said)
        await there.writer.flush()
        assert there.recorded() == [(WORDS[0], "cancelled")]
        assert there.booked() == [("sampled", price(*said), cost(*said))]

    play(database_dsn, act, stub)


def test_a_stream_of_which_nothing_came_costs_nothing(database_dsn: str) -> None:
    stub = Stub(answer=[b": wait\n\n"], gate=asyncio.Event())

    async def act(there: Shop) -> None:
        asking = there.ask(stream=True)
        await until(lambda: bool(stub.requests))
        await asyncio.sleep(0.1)
        await leave(asking)
        await stub.left.wait()
        assert await there.spent() == 0
        await there.writer.flush()
        assert (there.recorded(), there.booked()) == ([], [])

    play(database_dsn, act, stub)


class Crowded:
    """A writer that has no room for the second row and those after it until ``room``."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.room = asyncio.Event()
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)

    async def add_generation(self, generation: Generation, /) -> None:
        self.asked += 1
        if self.asked > 1:
            await self.room.wait()
        await self.writer.add_generation(generation)


def test_no_choice_is_lost_that_waits_for_its_place_in_the_record(database_dsn: str) -> None:
    def said(index: int, reason: str | None) -> bytes:
        choice = {"index": index, "delta": {"content": "yes"}, "finish_reason": reason}
        return b"data: " + json.dumps({"model": "big-1", "choices": [choice]}).encode() + b"\n\n"

    last = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
    stub = Stub(answer=[*(said(n, "stop") for n in range(3)), last, b"data: [DONE]\n\n"])

    async def act(there: Shop) -> None:
        crowded = there.stage.recorder
        assert isinstance(crowded, Crowded)
        asking = there.ask(stream=True, n=3)
        await until(lambda: crowded.asked == 2)
        await leave(asking)
        await until(lambda: crowded.asked == 3)  # it is offered again
        crowded.room.set()
        assert await there.spent() == ALL[1]
        await there.writer.flush()
        assert there.recorded() == [("yes", "stop")] * 3
        assert there.booked() == [ALL, ("sampled", 0, 0), ("sampled", 0, 0)]

    play(database_dsn, act, stub, recorder=Crowded)
