"""A server that speaks OpenAI's dialect by heart, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from tests.serve.api.doubles import MemoryRecorder
from tests.serve.api.servers import answering, make_server

from liveweights.http.authentication import Authenticator
from liveweights.meter.limits import Limiter
from liveweights.record.errors import StoreAway
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.app import create_gateway
from liveweights.serve.gateway.objects import Reference
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.serve.gateway.upstream import Upstream

WORDS = ["Paris", " is", " the", " capital", " ✓", "."]
USAGE = {"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}


def chunk(words: str, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": words}, "finish_reason": reason, **more}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "big-1"}
    return b"data: " + json.dumps(body | {"choices": [choice]}).encode() + b"\n\n"


def streamed() -> list[bytes]:
    last = {"model": "big-1", "choices": [], "usage": USAGE}
    parts = [chunk(word) for word in WORDS] + [chunk("", "stop")]
    return [*parts, b"data: " + json.dumps(last).encode() + b"\n\n", b"data: [DONE]\n\n"]


@dataclass
class Stub:
    """``answer`` is what a POST gets: bytes at once, or a list of chunks as events.

    ``gate`` is waited for after the first chunk, and ``hold`` before bytes, or ``halfway`` through
    them; ``break_after`` cuts the connection after so many.
    """

    answer: bytes | list[bytes] = field(default_factory=streamed)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    hold: asyncio.Event | None = None
    halfway: bool = False
    break_after: int | None = None
    drop: int = 0
    """Connections to close without an answer, from now on."""
    pages: dict[str, bytes] = field(default_factory=dict)
    """What a GET of a path gets; of any other, the models."""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the one who asked has gone away before the end."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {k.lower(): v for k, v in request.headers.items()}
        self.requests.append((request.method, request.raw_path, headers, body))
        assert request.transport is not None
        if self.drop:
            self.drop -= 1
            request.transport.close()
            return web.Response()
        if request.method == "GET" and request.path in self.pages:
            return web.Response(body=self.pages[request.path])
        if request.method in ("GET", "DELETE"):
            return web.json_response({"object": "list", "data": [{"id": "big-1"}]})
        if isinstance(self.answer, bytes):
            headers = {"content-type": "application/json", **self.headers}
            try:
                return await self._whole(request, self.answer, headers)
            except (ConnectionResetError, asyncio.CancelledError):
                self.left.set()
                raise
        response = web.StreamResponse(
            status=self.status, headers={"content-type": "text/event-stream", **self.headers}
        )
        await response.prepare(request)
        try:
            for place, part in enumerate(self.answer):
                if place == self.break_after:
                    request.transport.abort()
                    return response
                await response.write(part)
                if self.gate is not None:
                    await self.gate.wait()
        except (ConnectionResetError, asyncio.CancelledError):
            self.left.set()
            raise
        return response

    async def _whole(
        self, request: web.Request, body: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        if self.hold is None or not self.halfway:
            if self.hold is not None:
                await self.hold.wait()
            return web.Response(status=self.status, body=body, headers=headers)
        response = web.StreamResponse(status=self.status, headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        half = len(body) // 2
        await response.write(body[:half])
        await self.hold.wait()
        await response.write(body[half:])
        return response


class MemoryOwners:
    """The OwnerStore's promises, without a database."""

    def __init__(self) -> None:
        self.tenants: dict[Reference, str] = {}
        self.away = False

    async def remember(self, tenant: str, made: Sequence[Reference], /) -> None:
        for key in made:
            self.tenants.setdefault(key, tenant)

    async def find(self, named: Sequence[Reference], /) -> dict[Reference, str]:
        if self.away:
            raise StoreAway("the database is away")
        return {key: self.tenants[key] for key in named if key in self.tenants}

    async def forget(self, key: Reference, /) -> None:
        self.tenants.pop(key, None)


@dataclass
class Scene:
    """A gateway in front of a stub, and a client."""

    stub: Stub
    recorder: MemoryRecorder
    client: aiohttp.ClientSession
    url: str

    async def ask(self, path: str = "chat/completions", **body: Any) -> tuple[Any, bytes]:
        asked = {"model": "big", "messages": [{"role": "user", "content": "Capital?"}]} | body
        headers = asked.pop("headers", {})
        async with self.client.post(f"/v1/{path}", json=asked, headers=headers) as response:
            return response, await response.read()


@asynccontextmanager
async def serve_stub(stub: Stub) -> AsyncIterator[str]:
    """Its base URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", stub.handle)
    # Handlers are cancelled when the client leaves, so that the stub notices.
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scene(
    stub: Stub | None = None,
    settings: ApiSettings | None = None,
    key: str = "",
    silent_seconds: float = 600,
    recorder: Any = None,
    owners: Any = None,
    authenticator: Authenticator | None = None,
    limiter: Limiter | None = None,
    **gateway: Any,
) -> AsyncIterator[Scene]:
    """``recorder`` and ``owners`` are in memory unless given; ``gateway`` are further settings."""
    stub, recorder = stub or Stub(), recorder or MemoryRecorder()
    owners = owners or MemoryOwners()
    async with serve_stub(stub) as url:
        behind = GatewaySettings(upstream=url, silent_seconds=silent_seconds, **gateway)
        async with Upstream(behind) as upstream:
            access = Access(behind, owners)
            app = create_gateway(
                upstream,
                recorder,
                settings,
                key=key,
                access=access,
                authenticator=authenticator,
                limiter=limiter,
            )
            server = make_server(app, signed=False)
            async with answering(server) as url:
                root = url.removesuffix("/v1")
                async with aiohttp.ClientSession(root) as client:
                    yield Scene(stub, recorder, client, root)
