"""The HTTP session to the server behind the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from liveweights.http.proxies import find_proxy
from liveweights.serve.gateway.answer import Answer
from liveweights.serve.gateway.settings import GatewaySettings

KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept: less than the 5 of uvicorn, which most servers use."""


class UpstreamAway(ConnectionError):
    """The upstream did not begin to answer."""


class Upstream:
    """Passes requests on; use as ``async with``."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.address = settings.upstream.rstrip("/").removesuffix("/v1")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self.settings.connect_seconds,
                sock_read=self.settings.silent_seconds,
            ),
            auto_decompress=False,
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=find_proxy(self.address),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes | AsyncIterable[bytes] | None,
    ) -> AsyncGenerator[Answer]:
        """The answer from its first byte on. ``target`` is path and query as they were sent.

        A connection that the upstream closed while it was idle is replaced once. Raises
        UpstreamAway until the answer begins, aiohttp.ClientError after that.
        """
        head = await self._open(method, target, headers, body)
        answer = Answer(head, self.settings.silent_seconds)
        try:
            yield answer
        finally:
            answer.close()

    async def _open(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes | AsyncIterable[bytes] | None,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None
        url = URL(self.address + target, encoded=True)
        again = isinstance(body, bytes)
        while True:
            try:
                return await self._session.request(
                    method, url, headers=headers, data=body, allow_redirects=False
                )
            except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
                if not again:
                    raise UpstreamAway(f"{self.address} closed the connection") from error
                again = False
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                # Not its repr: that shows the headers that were sent, and with them the key.
                why = f"{type(error).__name__}: {error}"
                raise UpstreamAway(f"{self.address} cannot be reached: {why}") from error
