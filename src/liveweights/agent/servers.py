"""Servers of the Model Context Protocol as sets of tools, with the official SDK (extra ``mcp``).

Such a server is somebody else's program: what it lists is checked, what it sends is bounded, and
what it asks of us (to sample, for files, for the user's input) is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import msgspec

from liveweights.agent import sieve
from liveweights.agent.settings import ToolServer
from liveweights.agent.tool import Described, Listed, ToolError, Toolset

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult

NAME = re.compile(r"[A-Za-z0-9_.:/@-]{1,64}")
MOST_TOOLS = 64
MOST_PAGES = 16
LARGEST_SCHEMA = 16_384
"""Bytes of JSON."""
LONGEST_DESCRIPTION = 4096
LARGEST_MESSAGE = 4 * 2**20
"""Bytes of what a server answers at once."""
LEAVE_SECONDS = 5.0
T = TypeVar("T")
Connect = Callable[[], "AbstractAsyncContextManager[Client]"]


@dataclass(slots=True)
class ServerTools:
    """``client`` is of the task ``alive``, which ends with the connection."""

    client: Client
    alive: asyncio.Task[None]
    allowed: Sequence[str] = ()
    """The tools that may be called; none: all."""
    withheld: Sequence[str] = ()

    async def list(self) -> Listed:
        tools: list[Described] = []
        left_out: list[str] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._ask(self.client.list_tools(cursor=cursor))
            for tool in page.tools:
                if not self._may_call(tool.name):
                    continue
                reason = find_fault(tool.name, tool.input_schema, [one.name for one in tools])
                if reason is None and len(tools) == MOST_TOOLS:
                    reason = f"more than {MOST_TOOLS} tools"
                if reason is not None:
                    left_out.append(f"{tool.name[:64]}: {reason}")
                    continue
                told = (tool.description or "")[:LONGEST_DESCRIPTION]
                tools.append(Described(tool.name, told, tool.input_schema))
            cursor = page.next_cursor
            if not cursor:
                break
        return Listed(tools, left_out[:MOST_TOOLS])

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        if not self._may_call(name):
            raise ToolError(f"{name[:64]!r} is not allowed here")
        result = await self._ask(self.client.call_tool(name, dict(arguments)))
        text = show(result)
        if result.is_error:
            raise ToolError(text or "the tool says that it failed, and not why")
        return text

    def _may_call(self, name: str) -> bool:
        return name not in self.withheld and (not self.allowed or name in self.allowed)

    async def _ask(self, work: Awaitable[T]) -> T:
        """Raises ToolError for whatever the server answers wrongly, also where it is gone."""
        asked = asyncio.ensure_future(work)
        try:
            await asyncio.wait({asked, self.alive}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise ToolError("the tool server has gone")
            return asked.result()
        except ToolError:
            raise
        except Exception as error:  # a server can answer anything, and the SDK raises as much
            raise ToolError(f"the tool server answered wrongly: {explain(error)}") from error
        finally:
            asked.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await asked


def find_fault(name: str, schema: Any, known: Sequence[str]) -> str | None:
    """Why a listed tool cannot be offered to a model; None where it can."""
    if not NAME.fullmatch(name):
        return "its name has other characters than letters, digits and _ . : / @ -"
    if name in known:
        return "it is listed twice"
    if not isinstance(schema, dict) or schema.get("type") != "object":  # pyright: ignore[reportUnknownMemberType]
        return "its schema is none of an object"
    if not isinstance(schema.get("properties", {}), dict):  # pyright: ignore[reportUnknownMemberType]
        return "its schema's properties are no object"
    if len(msgspec.json.encode(schema)) > LARGEST_SCHEMA:
        return f"its schema has more than {LARGEST_SCHEMA} bytes"
    return None


def show(result: CallToolResult) -> str:
    """The texts of a result; of what is no text only what it is."""
    parts = [
        block.text if block.type == "text" else f"[{block.type}, which cannot be read here]"
        for block in result.content
    ]
    if not parts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(parts)


def explain(error: BaseException) -> str:
    """In one line; of a group its first one."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return (str(error) or type(error).__name__).partition("\n")[0][:300]


@asynccontextmanager
async def connected(
    connect: Connect,
    *,
    seconds: float,
    allowed: Sequence[str] = (),
    withheld: Sequence[str] = (),
) -> AsyncGenerator[Toolset]:
    """A connection for one response. It is of a task of its own: where it breaks, whoever uses it
    gets a ToolError and is not cancelled. Raises ToolError where there is none in time."""
    ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def stay() -> None:
        async with connect() as client:
            ready.set_result(client)
            await leave.wait()

    alive = asyncio.create_task(stay())
    try:
        await asyncio.wait({alive, ready}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            told = "it does not answer" if not alive.done() else explain_task(alive)
            raise ToolError(f"no connection to the tool server: {told}")
        yield ServerTools(ready.result(), alive, allowed, withheld)
    finally:
        leave.set()
        await asyncio.wait({alive}, timeout=LEAVE_SECONDS if ready.done() else 0)
        alive.cancel()
        await asyncio.wait({alive}, timeout=LEAVE_SECONDS)
        if alive.done() and not alive.cancelled():
            alive.exception()  # has been looked at


def explain_task(task: asyncio.Task[None]) -> str:
    error = None if task.cancelled() else task.exception()
    return "it broke off" if error is None else explain(error)


def connect_server(server: ToolServer, seconds: float) -> Connect:
    """To a server of the settings."""

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Client]:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        if server.url:
            async with (
                _over_http(server, seconds) as transport,
                Client(transport, read_timeout_seconds=seconds) as client,
            ):
                yield client
            return
        environment = dict(_keys(server))
        if shutil.which(server.command[0]) is None:
            raise FileNotFoundError(f"there is no program {server.command[0]!r}")
        arguments = ["-I", "-S", sieve.__file__, str(LARGEST_MESSAGE), *server.command]
        program = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
        with _open_nowhere() as nowhere:
            transport = stdio_client(program, errlog=nowhere)
            async with Client(transport, read_timeout_seconds=seconds) as client:
                yield client

    return connect


def _open_nowhere() -> TextIO:
    """For a program's own words, which may be endless."""
    return open(os.devnull, "w")


def _keys(server: ToolServer) -> Iterator[tuple[str, str]]:
    if server.key_env and (key := os.environ.get(server.key_env)):
        yield server.key_env, key


@asynccontextmanager
async def _over_http(server: ToolServer, seconds: float) -> AsyncGenerator[Any]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    headers = {"accept-encoding": "identity"}
    for _, key in _keys(server):
        headers["authorization"] = f"Bearer {key}"

    async def bound(response: httpx2.Response) -> None:
        # What is packed may be a thousand times as long as what is counted here.
        packed = response.headers.get("content-encoding", "identity")
        if packed.strip().lower() != "identity":
            raise httpx2.DecodingError(f"its answer is packed ({packed[:50]}), which is not read")
        response.stream = _Bounded(response.stream)

    class _Bounded(httpx2.AsyncByteStream):
        """Ends what is longer than any honest answer."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncGenerator[bytes]:
            left = LARGEST_MESSAGE
            async for chunk in self._stream:
                left -= len(chunk)
                if left < 0:
                    raise httpx2.ReadError(f"more than {LARGEST_MESSAGE} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    async with httpx2.AsyncClient(
        headers=headers, timeout=seconds, event_hooks={"response": [bound]}
    ) as client:
        yield streamable_http_client(
            server.url, http_client=client, max_sse_event_size=LARGEST_MESSAGE
        )
