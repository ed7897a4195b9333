"""Who is alive and answers nobody is found, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from liveweights.app.hearing import Address, answers, wait_until_deaf

BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Ear:
    """A server that says ``reply`` to whoever connects, or nothing."""

    def __init__(self, reply: bytes | None) -> None:
        self.reply = reply
        self.asked = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        line = await reader.readline()
        assert line in (b"GET /healthz HTTP/1.1\r\n", b"")
        if self.reply is not None:
            writer.write(self.reply)
            writer.close()
        else:
            await reader.read()


@asynccontextmanager
async def listening(ear: Ear) -> AsyncIterator[Address]:
    server = await asyncio.start_server(ear.handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


@pytest.mark.parametrize(("reply", "heard"), [(BUSY, True), (b"SSH-2.0", False), (None, False)])
def test_any_status_is_an_answer(reply: bytes | None, heard: bool) -> None:
    async def run() -> None:
        async with listening(Ear(reply)) as address:
            assert await answers(address, 30 if reply else 0.2) is heard

    asyncio.run(run())


def test_nobody_there_is_no_answer() -> None:
    async def run() -> None:
        async with listening(Ear(BUSY)) as address:
            pass
        assert not await answers(address, 30)

    asyncio.run(run())


def test_deaf_is_who_does_not_answer_for_a_while_and_no_sooner() -> None:
    async def run() -> None:
        ear = Ear(BUSY)
        async with listening(ear) as address, asyncio.timeout(60):
            waiting = asyncio.create_task(wait_until_deaf(address, 1.0))
            while ear.asked < 8:
                await asyncio.sleep(0.05)
            assert not waiting.done()
            ear.reply = None
            await waiting

    asyncio.run(run())
