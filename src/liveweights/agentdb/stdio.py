"""Requests over standard input that cannot be read get a reply too."""

from __future__ import annotations

import json
import re
from types import TracebackType
from typing import Any, Self

import mcp_types
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Answering:
    """The messages of ``read``; what is none is answered through ``write`` with why.

    Half of a surrogate pair is such a thing: JSON can write it, and no text can hold it.
    """

    def __init__(self, read: Any, write: Any) -> None:
        self._read = read
        self._write = write

    @property
    def last_context(self) -> Any:
        return self._read.last_context

    async def receive(self) -> SessionMessage:
        while isinstance(item := await self._read.receive(), Exception):
            await self._write.send(SessionMessage(refusal(item)))
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        async for item in self._read:
            if not isinstance(item, Exception):
                return item
            await self._write.send(SessionMessage(refusal(item)))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._read.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


def refusal(error: Exception) -> mcp_types.JSONRPCError:
    """To the request whose line was not understood, as far as its id can be made out."""
    details = error.errors()[0] if isinstance(error, ValidationError) else None
    line = details["input"] if details else None
    why = details["msg"] if details else str(error)
    if isinstance(line, str) and SURROGATE.search(line):
        why += "; half of a surrogate pair is no character"
    return mcp_types.JSONRPCError(
        jsonrpc="2.0",
        id=_id_of(line),
        error=mcp_types.ErrorData(
            code=mcp_types.INVALID_REQUEST, message=f"the request cannot be read: {why}"
        ),
    )


def _id_of(line: object) -> int | str | None:
    try:
        request = json.loads(line) if isinstance(line, str) else line
    except (ValueError, RecursionError):
        return None
    id = request.get("id") if isinstance(request, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return id if isinstance(id, (int, str)) and not isinstance(id, bool) else None


class StdioServer(MCPServer[None]):
    """The SDK's server; over standard input every request gets a reply."""

    async def run_stdio_async(self) -> None:
        async with stdio_server() as (read, write):
            server = self._lowlevel_server
            options = server.create_initialization_options()
            await server.run(Answering(read, write), write, options)
