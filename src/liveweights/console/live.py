"""The circle while somebody looks: server-sent events, one look for all who watch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from liveweights.console.headers import GUARDED
from liveweights.http.errors import ApiError, too_many
from liveweights.http.glance import Glance
from liveweights.http.slots import QueueFull, Slots
from liveweights.http.streaming import EventStream, while_connected

EVERY = 2.0
"""Seconds between looks."""
QUIET = 15.0
"""Seconds without news after which a line says that the stream goes on: proxies cut silent ones."""
VIEWERS, EACH = 200, 20
"""Streams at once, of all and of one person."""
ALIVE = b": nothing new\n\n"


class Feed:
    """Streams of what ``glance`` (of a model) gives as HTML, whenever it is another.

    ``close`` ends them, so that a server that stops need not wait for people to stop looking."""

    def __init__(self, glance: Callable[[str], Glance[str]]) -> None:
        self._glance = glance
        self._slots = Slots(VIEWERS, 0)
        self._watching: Counter[str] = Counter()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream; a browser asks again by itself."""
        self._closing.set()

    async def stream(
        self,
        model: str,
        receive: Receive,
        send: Send,
        *,
        may: Callable[[], Awaitable[bool]],
        who: str = "",
    ) -> None:
        """Write events named ``circle`` until the viewer goes, or ``may`` look no more. Raises
        ApiError 429."""
        if self._watching[who] >= EACH:
            raise _crowded(f"You watch {EACH} pages already")
        self._watching[who] += 1
        try:
            async with self._slots.hold(1):
                await self._stream(self._glance(model), receive, send, may)
        except QueueFull:
            raise _crowded(f"{VIEWERS} pages are watched already") from None
        finally:
            self._watching[who] -= 1
            if not self._watching[who]:
                del self._watching[who]

    async def _stream(
        self, look: Glance[str], receive: Receive, send: Send, may: Callable[[], Awaitable[bool]]
    ) -> None:
        shown = await look()
        stream = EventStream(send, GUARDED)
        async with while_connected(receive):
            await stream.write(event("circle", shown))
            loop = asyncio.get_running_loop()
            written = loop.time()
            while not await self._closes_within(EVERY) and await may():
                now = await look()
                if now != shown:
                    await stream.write(event("circle", now))
                elif loop.time() - written >= QUIET:
                    await stream.write(ALIVE)
                else:
                    continue
                shown, written = now, loop.time()
            await stream.close(b"")

    async def _closes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True


def _crowded(why: str) -> ApiError:
    return too_many(f"{why}: close one, or reload this one by hand.", "queue", 30.0)


def event(name: str, html: str) -> bytes:
    """One event (HTML standard, section 9.2.6): each line of the data is a field of its own."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"event: {name}\n{lines}\n".encode()
