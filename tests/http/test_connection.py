"""What a client may send before anybody knows who it is, over real connections."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.serve.api.doubles import Api, make_api
from tests.serve.api.servers import answering, make_server

from liveweights.http import connection
from liveweights.http.settings import ConnectionSettings
from liveweights.serve.api.settings import ApiSettings

BODY = json.dumps({"model": "tiny", "prompt": "say:"}).encode()
HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
MODELS = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def answer(self) -> tuple[int, Any]:
        """Status and JSON."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        return int(head.split()[1]), json.loads(body)

    async def error(self) -> tuple[int, str]:
        """Status and code of a refusal, after which the connection is closed."""
        status, body = await self.answer()
        assert set(body["error"]) == {"message", "type", "param", "code"}
        await self.closed()
        return status, body["error"]["code"]

    async def closed(self) -> None:
        with suppress(ConnectionError):
            while await self._reader.read(65536):
                pass


@asynccontextmanager
async def clients(
    app: Any, limits: ConnectionSettings
) -> AsyncGenerator[Callable[[], Awaitable[Client]]]:
    opened: list[asyncio.StreamWriter] = []
    async with answering(make_server(app, ApiSettings(connections=limits))) as url:
        port = int(url.removesuffix("/v1").rpartition(":")[2])

        async def connect() -> Client:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append(writer)
            return Client(reader, writer)

        try:
            yield connect
        finally:
            for writer in opened:
                writer.close()


def run(
    test: Callable[[Api, Callable[[], Awaitable[Client]]], Awaitable[None]],
    api: Api | None = None,
    **limits: Any,
) -> Api:
    api = api or make_api("hello")

    async def scenario() -> None:
        async with clients(api.app, ConnectionSettings(**limits)) as connect, asyncio.timeout(60):
            await test(api, connect)

    uvloop.run(scenario())  # as the service does
    return api


LONG = 600_000  # more than one read, so that what has not ended is noticed, too
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"x: " + b"a" * LONG,
        HEAD + b"x" * LONG,
        HEAD + b"x: y\r\n" * 2_000,
        HEAD + (b"x: " + b"a" * 1000 + b"\r\n") * 70,
        b"GET /" + b"a" * LONG,
        b"\r\n" * 40_000,
        CHUNKED + b"0\r\nx: " + b"a" * LONG,
        CHUNKED + b"0\r\n" + b"x: y\r\n" * 2_000,
        HEAD + b"transfer-encoding: chunked\r\n\r\n5;" + b"a" * LONG,
    ],
    ids=[
        *("a value", "a name", "many fields", "some fields", "a path", "empty lines"),
        *("a trailer", "many trailers", "an extension of a chunk"),
    ],
)
@pytest.mark.parametrize("piece", [1 << 20, 5_000])
def test_heads_are_bounded(sent: bytes, piece: int) -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        for place in range(0, len(sent), piece):
            await client.send(sent[place : place + piece])
            await asyncio.sleep(0)
        assert await client.error() == (431, "headers_too_large")
        other = await connect()
        await other.send(WHOLE)
        assert (await other.answer())[0] == 200

    run(test)


def test_what_is_within_the_bound_passes() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        large = HEAD + b"x: " + b"a" * 60_000 + b"\r\n" + WHOLE.removeprefix(HEAD)
        for _ in range(3):  # counted for each request
            await client.send(large)
            assert (await client.answer())[0] == 200
        await client.send(large * 2)  # one behind the other
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]

    run(test)


def test_trailers_say_nothing_about_a_request() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        await client.send(CHUNKED + b"0\r\nx-session-id: forged\r\n\r\n")
        assert (await client.answer())[0] == 200
        assert api.recorder.only().session is None

    run(test)


def test_what_is_no_http_is_refused_as_everything_else() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        strange = (b"hello", b"GET /\xff HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET / HTTP/9.9")
        for line in strange:
            client = await connect()
            await client.send(line + b"\r\n\r\n")
            assert await client.error() == (400, "invalid_request")

    run(test)


def test_another_protocol_is_not_spoken_but_the_request_is_answered() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        head = MODELS[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
        await client.send(head)
        assert (await client.answer())[0] == 200

    run(test)


def test_who_sends_nothing_is_not_waited_for() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        silent, slow = await connect(), await connect()
        await slow.send(HEAD)
        await silent.closed()
        assert await slow.error() == (408, "request_timeout")
        later = await connect()
        await later.send(MODELS)
        assert (await later.answer())[0] == 200
        await later.send(HEAD)  # the next one on the same connection
        assert await later.error() == (408, "request_timeout")

    run(test, header_seconds=2)


def test_a_connection_is_kept_for_the_next_request_and_not_for_ever() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        del api
        client = await connect()
        for _ in range(2):
            await client.send(MODELS)
            assert (await client.answer())[0] == 200
        async with asyncio.timeout(30):
            await client.closed()

    run(test, keep_seconds=3)


def test_connections_are_kept_longer_than_clients_keep_theirs() -> None:
    """Node's fetch 4 s, httpx 5 s, aiohttp 15 s, Go 90 s unless told; proxies 60 s."""
    assert ConnectionSettings().keep_seconds > 60


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        await client.send(WHOLE[:-3])
        assert await client.error() == (408, "request_timeout")
        other = await connect()
        await other.send(MODELS.replace(b"/v1/models", b"/metrics"))
        await other.writer.drain()
        assert not api.engine.calls

    api = run(test, body_seconds=0.3)
    text = api.call("GET", "/metrics").body
    assert b'liveweights_requests_in_flight{route="/v1/completions"} 0.0' in text
    assert b'liveweights_requests_total{route="/v1/completions",status="499"} 1.0' in text


def test_a_body_that_comes_slowly_is_waited_for() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        body = json.dumps({"model": "tiny", "prompt": "a", "user": " " * 99}).encode()
        body += b" " * 40_000
        await client.send(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:-9])
        await asyncio.sleep(1.0)
        await client.send(body[-9:])
        assert (await client.answer())[0] == 200

    run(test, body_seconds=0.3)


def test_the_rest_of_a_body_that_was_refused_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "UNREAD", 0.3)

    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        await client.send(HEAD + b"content-length: 99999999\r\n\r\n")
        assert (await client.answer())[0] == 413

        async def go_on() -> None:
            while not client.writer.is_closing():
                await client.send(b" " * 9000)
                await asyncio.sleep(0.2)

        sending = asyncio.create_task(go_on())
        await client.closed()
        sending.cancel()

    run(test, send_seconds=0.3)  # how often it looks


def test_above_the_cap_the_idle_go() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        idle = [await connect() for _ in range(3)]
        await idle[0].send(HEAD)  # to have begun is not enough
        await asyncio.sleep(0.1)
        used = await connect()
        for _ in range(2):
            await used.send(MODELS)
            assert (await used.answer())[0] == 200
        fifth = await connect()
        await idle[0].closed()
        await fifth.send(WHOLE)
        assert (await fifth.answer())[0] == 200

    run(test, max=4)


def test_above_the_cap_the_busy_stay() -> None:
    go = asyncio.Event()

    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        busy = [await connect() for _ in range(2)]
        for client in busy:
            await client.send(WHOLE)
        while api.engine.open < 2:
            await asyncio.sleep(0.01)
        third = await connect()
        assert await third.error() == (503, "too_busy")
        go.set()
        assert [(await client.answer())[0] for client in busy] == [200, 200]
        await (again := await connect()).send(MODELS)
        assert (await again.answer())[0] == 200

    run(test, make_api("hello", pause=go.wait), max=2)


def test_who_takes_nothing_of_an_answer_is_not_waited_for() -> None:
    ended = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await make_api().app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.create_task(_gone(receive))
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        ended.set()

    async def _gone(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def scenario() -> None:
        limits = ConnectionSettings(send_seconds=0.3)
        async with clients(endless, limits) as connect, asyncio.timeout(30):
            client = await connect()
            client.writer.transport.pause_reading()
            await client.send(MODELS)
            await ended.wait()

    uvloop.run(scenario())  # as the service does
    assert ended.is_set()


def test_a_client_that_is_given_up_gives_everything_back() -> None:
    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        waiting = [await connect() for _ in range(20)]
        for client in waiting:
            await client.send(WHOLE[:-3])
        for client in waiting:
            assert await client.error() == (408, "request_timeout")
        none_in_flight = b'liveweights_requests_in_flight{route="/v1/completions"} 0.0'
        all_left = b'liveweights_requests_total{route="/v1/completions",status="499"} 20.0'
        while True:  # and not only when the server ends
            text = (await api.acall("GET", "/metrics")).body
            if none_in_flight in text and all_left in text:
                return
            await asyncio.sleep(0.05)

    run(test, body_seconds=0.3)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_twenty_megabytes_of_headers_take_no_memory() -> None:
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def test(api: Api, connect: Callable[[], Awaitable[Client]]) -> None:
        await (first := await connect()).send(WHOLE)
        await first.answer()
        before = most = resident()
        for line in (b"x: y\r\n", b"x: " + b"a" * 8000 + b"\r\n"):
            sent = line * (65536 // len(line))
            attackers = [await connect() for _ in range(8)]
            for client in attackers:
                await client.send(HEAD)
            for _ in range(40):
                for client in attackers:
                    if not client.writer.transport.is_closing():
                        client.writer.write(sent)
                await asyncio.sleep(0.01)
                most = max(most, resident())
            for client in attackers:
                client.writer.transport.abort()
        assert most - before < 40 * 2**20

    run(test)
