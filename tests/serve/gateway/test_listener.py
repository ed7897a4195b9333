"""Who waits for an answer, and what becomes of it once nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from liveweights.http.errors import ApiError
from liveweights.http.wire import ClientGone
from liveweights.serve.gateway.listener import Listener, while_heard

START = {"type": "http.response.start", "status": 200, "headers": []}


@dataclass
class Client:
    leaves: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[Any] = field(default_factory=list[Any])

    async def receive(self) -> Any:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None


def play(
    block: Callable[[Client, Listener], Awaitable[None]],
    *,
    streams: bool = False,
    rest: float = 60.0,
    seconds: float | None = None,
) -> tuple[Client, Listener, type[BaseException] | None]:
    """The block with a deadline in ``seconds``; what it raised."""

    async def go() -> tuple[Client, Listener, type[BaseException] | None]:
        client = Client()
        listener = Listener(client.send, streams=streams, rest=rest)
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        raised: type[BaseException] | None = None
        try:
            async with asyncio.timeout(20), while_heard(client.receive, listener, deadline):
                await block(client, listener)
        except Exception as error:
            raised = type(error)
        return client, listener, raised

    return asyncio.run(go())


async def leave(client: Client) -> None:
    client.leaves.set()
    await asyncio.sleep(0.02)


def test_a_stream_ends_with_its_client() -> None:
    reached: list[str] = []

    async def block(client: Client, listener: Listener) -> None:
        await listener(START)
        await leave(client)
        reached.append("here")

    _, listener, raised = play(block, streams=True)
    assert (reached, raised) == ([], None)
    assert (listener.gone, listener.late, listener.abandoned) == (True, False, False)


def test_an_answer_in_one_piece_is_read_on_and_not_sent() -> None:
    reached: list[str] = []

    async def block(client: Client, listener: Listener) -> None:
        await leave(client)
        reached.append("here")
        listener(START)

    client, listener, raised = play(block)
    assert (reached, raised, client.sent) == (["here"], ClientGone, [])
    assert not listener.abandoned


def test_it_is_read_on_for_so_long_only() -> None:
    async def block(client: Client, listener: Listener) -> None:
        await leave(client)
        await asyncio.sleep(60)

    _, listener, raised = play(block, rest=0.05)
    assert (listener.gone, listener.abandoned, raised) == (True, True, None)


def test_who_waits_is_told_that_it_is_late() -> None:
    async def block(client: Client, listener: Listener) -> None:
        await asyncio.sleep(0.1)
        assert (client.status, listener.late) == (408, True)
        listener(START)

    client, listener, raised = play(block, seconds=0.02)
    assert (client.status, listener.gone, raised) == (408, True, ClientGone)


def test_what_has_begun_is_cut_at_the_deadline() -> None:
    async def block(client: Client, listener: Listener) -> None:
        await listener(START)
        await asyncio.sleep(60)

    client, listener, raised = play(block, streams=True, seconds=0.02)
    assert (client.sent, listener.late, raised) == ([START], True, None)


def test_what_is_complete_is_not_late() -> None:
    async def block(client: Client, listener: Listener) -> None:
        listener.complete = True
        await asyncio.sleep(0.1)
        await listener(START)

    client, listener, raised = play(block, seconds=0.02)
    assert (client.sent, listener.late, listener.gone, raised) == ([START], False, False, None)


@pytest.mark.parametrize("there", [True, False])
def test_a_failure_is_told_to_who_is_there(there: bool) -> None:
    async def block(client: Client, listener: Listener) -> None:
        if not there:
            await leave(client)
        raise ApiError(502, "It is away.")

    _, _, raised = play(block)
    assert raised is (ApiError if there else ClientGone)


def test_a_timeout_inside_is_not_swallowed() -> None:
    async def block(client: Client, listener: Listener) -> None:
        raise TimeoutError

    assert play(block)[2] is TimeoutError
