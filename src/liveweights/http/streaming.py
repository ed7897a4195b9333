"""Server-sent events, and noticing that the client went away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import Receive, Send

from liveweights.http.errors import ApiError
from liveweights.http.wire import RawHeaders

DONE = b"data: [DONE]\n\n"


def event(json: bytes) -> bytes:
    return b"data: " + json + b"\n\n"


def broken_stream(error: ApiError) -> bytes:
    """What ends a stream of chunks that cannot be completed."""
    return event(error.body()) + DONE


def send_chunk(send: Send, data: bytes, *, more: bool = True) -> Awaitable[None]:
    return send({"type": "http.response.body", "body": data, "more_body": more})


class EventStream:
    """A response of server-sent events; it begins with the first ``write``.

    Several tasks may write: an event is never inside another one.
    """

    def __init__(self, send: Send, headers: RawHeaders) -> None:
        self._send = send
        self._headers = headers
        self._lock = asyncio.Lock()
        self.started = False

    async def write(self, data: bytes) -> None:
        async with self._lock:
            await self._start()
            if data:
                await send_chunk(self._send, data)

    async def close(self, data: bytes) -> None:
        async with self._lock:
            await self._start()
            await send_chunk(self._send, data, more=False)

    async def _start(self) -> None:
        if self.started:
            return
        self.started = True
        head = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # nginx would hold tokens back
            *self._headers,
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})


@dataclass(slots=True)
class Client:
    gone: bool = False


async def disconnected(receive: Receive) -> None:
    """Return once the client has gone away. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def until(watch: Callable[[], Awaitable[None]]) -> AsyncGenerator[asyncio.Timeout]:
    """Cancels the block within one step of ``watch`` returning, and swallows only that: then what
    is given has ``expired``."""
    # A timeout without a deadline is the standard library's correctly nesting cancellation:
    # it tells this cancellation from anyone else's.
    scope = asyncio.timeout(None)

    async def cut_short() -> None:
        await watch()
        scope.reschedule(asyncio.get_running_loop().time())

    try:
        async with scope:
            watcher = asyncio.create_task(cut_short())
            try:
                yield scope
            finally:
                watcher.cancel()
    except TimeoutError:
        if not scope.expired():
            raise


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncGenerator[Client]:
    """Cancels the block within one step of the client going away, and swallows only that.

    The body must have been read. Afterwards ``gone`` says whether the block was cut short.
    """
    client = Client()

    async def watch() -> None:
        await disconnected(receive)
        client.gone = True  # whoever is cancelled by it can see why

    async with until(watch) as scope:
        yield client
    client.gone = scope.expired()
