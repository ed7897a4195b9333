"""How an upstream is reached."""

from __future__ import annotations

import asyncio

import pytest

from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.serve.gateway.upstream import Upstream

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


def test_it_is_asked_by_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://ada:key@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        settings = GatewaySettings(upstream="http://models.example/v1")
        async with (
            server,
            Upstream(settings) as upstream,
            upstream.ask("GET", "/v1/models", [("authorization", "Bearer theirs")], None) as answer,
        ):
            await answer.begin()
            assert answer.head.status == 200

    asyncio.run(ask())
    (head,) = heads
    assert head.startswith(b"GET http://models.example/v1/models HTTP/1.1\r\n")
    assert b"Bearer theirs" in head
    assert b"Proxy-Authorization: Basic" in head
