"""A service with one local model and hosted ones, whose upstreams fail as they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import aiohttp
import msgspec
from tests.serve.api.doubles import (
    BASE,
    MemoryRecorder,
    ScriptedEngine,
    TemplateHere,
    make_tokenizer,
)
from tests.serve.api.servers import answering, make_server
from tests.serve.gateway.stub import USAGE, MemoryOwners, streamed

from liveweights.http.authentication import Authenticator
from liveweights.meter.keys import Client
from liveweights.meter.limits import Limiter
from liveweights.serve.api.app import create_app, make_keys
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.serve.gateway.upstream import Upstream
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.terms.current import Terms

Fault = Literal[
    "none",
    "refused",
    "hangs",
    "silent",
    "drips",
    "busy",
    "fails",
    "cut",
    "headless",
    "broken",
    "garbage",
    "denied",
]
KEY = "theirs-0123456789"
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "big-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris"},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    },
    indent=1,
).encode()
STREAM = b"".join(streamed())
ENDLESS: tuple[Fault, ...] = ("hangs", "silent", "drips")
"""Faults that end by the time that an upstream is given, which is short; all others have long."""
SHORT, LONG = 0.5, 60.0
"""Seconds."""


@dataclass
class Server:
    """An upstream on a real socket that writes its answers by hand."""

    fault: Fault = "none"
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    asked_at: float = 0.0
    """When the last of them came, in the event loop's time."""
    headers: dict[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    pieces: list[bytes] | None = None
    """What a stream consists of, each piece by itself."""
    gate: asyncio.Event | None = None
    """What the second half of a whole answer waits for."""
    left: bool = False
    """Whether the other side did not wait for that, or for an answer that never came."""
    computing: float = 0.0
    """Seconds until the first byte of an answer."""
    port: int = 0
    listening: asyncio.Server | None = None
    settings: HostedSettings | None = None
    """Whose upstream it is."""

    async def become(self, fault: Fault, timeout: float | None = None) -> None:
        """From now on. Who is to be ``refused`` finds nobody listening. ``timeout``: what it is
        given in seconds; None: as the fault needs."""
        self.fault = fault
        if self.settings is not None:
            seconds = timeout or (SHORT if fault in ENDLESS else LONG)
            for name in ("timeout", "answer_timeout"):
                msgspec.structs.force_setattr(self.settings, name, seconds)
        if fault == "refused":
            self.close()
        elif self.listening is None:
            self.listening = await asyncio.start_server(self.handle, "127.0.0.1", self.port)
            self.port = self.listening.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self.listening is not None:
            self.listening.close()
            self.listening = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked_at = asyncio.get_running_loop().time()
            first, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.requests.append((first.split()[1], headers, body))
            await self._answer(reader, writer, headers, stream=bool(body.get("stream")))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
        *,
        stream: bool,
    ) -> None:
        kind = "text/event-stream" if stream else "application/json"
        more = "".join(f"{k}: {v}\r\n" for k, v in self.headers.items())
        start = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n{more}".encode()
        chunked = start + b"transfer-encoding: chunked\r\n\r\n"
        if self.fault == "hangs":
            await reader.read()  # until the other side leaves
            self.left = True
        elif self.fault == "silent":
            writer.write(chunked)
            await writer.drain()
            await reader.read()
        elif self.fault == "drips":
            for byte in chunked:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(SHORT / 5)
        elif self.fault == "headless":
            writer.write(chunked)
        elif self.fault == "garbage":
            writer.write(b"\x00\xffnothing that is HTTP\r\n\r\n")
        elif self.fault in ("busy", "fails", "denied"):
            status = {"busy": "429 Busy", "fails": "500 Failed", "denied": "401 Denied"}
            said = json.dumps({"error": {"message": f"no: {headers.get('authorization')}"}})
            length = f"content-length: {len(said)}\r\nconnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 {status[self.fault]}\r\n{length}{said}".encode())
        elif self.fault == "broken":
            writer.write(chunked + _chunk(STREAM[: len(STREAM) // 2]))
        elif self.fault == "none" and not stream:
            await asyncio.sleep(self.computing)
            whole = self._named(WHOLE)
            half = len(whole) // 2
            writer.write(start + b"content-length: %d\r\n\r\n" % len(whole) + whole[:half])
            await self._wait(reader, writer)
            writer.write(whole[half:])
        elif self.fault == "none":
            await asyncio.sleep(self.computing)
            writer.write(chunked)
            for part in self.pieces or map(self._named, streamed()):
                if part:
                    writer.write(_chunk(part))
                    await writer.drain()
                    await asyncio.sleep(0.02 if self.pieces else 0)
            writer.write(b"0\r\n\r\n")

    async def _wait(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.gate is None:
            return
        await writer.drain()
        leaves, opens = asyncio.create_task(reader.read()), asyncio.create_task(self.gate.wait())
        await asyncio.wait({leaves, opens}, return_when=asyncio.FIRST_COMPLETED)
        self.left = leaves.done()
        leaves.cancel()
        opens.cancel()

    def _named(self, part: bytes) -> bytes:
        if self.fingerprint is None:
            return part
        named = b'"system_fingerprint": "%s", "model"' % self.fingerprint.encode()
        return part.replace(b'"model"', named, 1)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Counted(Authenticator):
    """Counts whom it was asked for."""

    asked = 0

    async def authenticate(self, scope: Any, **how: Any) -> Client:
        self.asked += 1
        return await super().authenticate(scope, **how)


@dataclass
class Stage:
    servers: dict[str, Server]
    hosted: dict[str, Hosted]
    recorder: MemoryRecorder
    engine: ScriptedEngine
    router: Router
    client: aiohttp.ClientSession
    url: str
    authenticator: Counted
    models: HostedModels

    async def ask(
        self, path: str = "chat/completions", **body: Any
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        asked = {"model": "big", "messages": [{"role": "user", "content": "Capital?"}]} | body
        headers = asked.pop("headers", {})
        async with self.client.post(f"/v1/{path}", json=asked, headers=headers) as response:
            return response, await response.read()

    async def forget(self) -> None:
        """As if nothing had been asked yet."""
        self.recorder.generations.clear()
        for name, server in self.servers.items():
            server.requests.clear()
            await server.become("none")
            self.hosted[name].breaker.succeeded()


@asynccontextmanager
async def staged(
    fallbacks: Mapping[str, Sequence[str]] | None = None,
    *,
    settings: ApiSettings | None = None,
    key: str = KEY,
    terms: Terms | None = None,
    limiter: Limiter | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> AsyncIterator[Stage]:
    """The local model ``tiny``, and a hosted one for each name of ``fallbacks``, the first with
    ``more`` settings."""
    settings = settings or ApiSettings()
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        hosted: dict[str, Hosted] = {}
        for name, others in (fallbacks or {"big": ()}).items():
            server = servers[name] = Server()
            await server.become("none")
            stack.callback(server.close)
            behind = GatewaySettings(upstream=f"http://127.0.0.1:{server.port}/v1")
            upstream = await stack.enter_async_context(Upstream(behind))
            server.settings = HostedSettings(
                alias=name,
                upstream=behind.upstream,
                model=f"org/{name}",
                key_env="",
                timeout=LONG,
                answer_timeout=LONG,
                fallback=tuple(others),
                **({} if hosted else more),
            )
            hosted[name] = Hosted(
                settings=server.settings,
                upstream=upstream,
                key=key,
                access=Access(behind, MemoryOwners()) if settings.keys else None,
            )
        tokenizer, router, recorder = make_tokenizer(), Router(), MemoryRecorder()
        router.set("tiny", BASE)
        engine = ScriptedEngine(tokenizer, "hello")
        local = make_model(engine, router, tokenizer, template=TemplateHere(tokenizer))
        counted = Counted(make_keys(settings))
        models = HostedModels(*hosted.values())
        app = create_app(
            Models(local),
            recorder,
            settings,
            hosted=models,
            terms=terms,
            authenticator=counted,
            limiter=limiter,
        )
        url = await stack.enter_async_context(answering(make_server(app)))
        root = url.removesuffix("/v1")
        client = await stack.enter_async_context(aiohttp.ClientSession(root))
        yield Stage(servers, hosted, recorder, engine, router, client, url, counted, models)
