"""An upstream's answer as it comes, and how long it may keep silent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

import aiohttp


class Answer:
    """The answer whose ``head`` has come. A part that does not come within ``patience`` seconds
    raises aiohttp.SocketTimeoutError; close it in any case."""

    __slots__ = ("_begun", "_content", "_loop", "_patience", "_since", "_watch", "head")

    def __init__(self, head: aiohttp.ClientResponse, patience: float) -> None:
        self.head = head
        self._begun: bytes | None = None  # the first part, until somebody asks for it
        self._content = head.content
        self._patience = patience
        self._since = math.inf  # when the wait for a part began
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.call_later(patience, self._look)
        # The client library starts a timer with every part, which costs more than passing it on.
        connection = head.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = None

    @property
    def ended(self) -> bool:
        """Whether there are no more parts."""
        return self._begun is None and self._content.at_eof()

    async def begin(self) -> None:
        """Wait until its first part has come, or its end. Raises aiohttp.ClientError when the
        upstream breaks off before."""
        if not self._content.at_eof():
            self._begun = await self.part()

    async def part(self) -> bytes:
        """What has come since, or the next that comes; empty at the end.

        Raises aiohttp.ClientError when the upstream breaks off.
        """
        if self._begun is not None:
            part, self._begun = self._begun, None
            return part
        self._since = self._loop.time()
        part = await self._content.readany()
        self._since = math.inf
        return part

    async def parts(self) -> AsyncGenerator[bytes]:
        """Each as it comes. Raises aiohttp.ClientError when the upstream breaks off."""
        while not self.ended:
            yield await self.part()

    async def whole(self, longest: int) -> bytes:
        """All parts, or the first that together have more than ``longest`` bytes: then it has not
        ``ended``. Raises aiohttp.ClientError when the upstream breaks off."""
        parts: list[bytes] = []
        size = 0
        while not self.ended and size <= longest:
            parts.append(await self.part())
            size += len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        """Of a half-read answer, too: the upstream stops computing it."""
        self._watch.cancel()
        self.head.close()

    def _look(self) -> None:
        waited = max(0.0, self._loop.time() - self._since)
        if waited >= self._patience:
            silent = aiohttp.SocketTimeoutError(f"nothing came for {self._patience:g} s")
            self._content.set_exception(silent)
        else:
            self._watch = self._loop.call_later(self._patience - waited, self._look)
