"""Lines of what servers and processes say, however long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable

from liveweights.engines.protocol import EngineError

LONGEST = 1 << 28
"""Bytes of an event. The last one of an answer may name the experts of each of its tokens: 16
million choices of a byte are 22 million characters."""
LONGEST_OUTPUT = 1 << 16
"""Bytes of a line that a child prints; a longer one comes in pieces."""


async def cut_lines(chunks: AsyncIterable[bytes], longest: int) -> AsyncGenerator[bytes]:
    """Lines with their ends, each in pieces of ``longest`` bytes where it is longer."""
    held = bytearray()
    async for chunk in chunks:
        begin = 0
        while begin < len(chunk):
            end = chunk.find(b"\n", begin) + 1 or len(chunk)
            end = min(end, begin + longest - len(held))
            held += chunk[begin:end]
            begin = end
            if len(held) == longest or held.endswith(b"\n"):
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


async def read_lines(chunks: AsyncIterable[bytes], longest: int = LONGEST) -> AsyncGenerator[bytes]:
    """Lines with their ends. Raises EngineError for one of more than ``longest`` bytes."""
    async for line in cut_lines(chunks, longest + 1):
        if len(line) > longest:
            raise EngineError(f"a line of the answer has more than {longest} bytes")
        yield line


async def read_output(stream: asyncio.StreamReader) -> AsyncGenerator[str]:
    """What a child prints, line by line, to its end."""

    async def read() -> AsyncGenerator[bytes]:
        while chunk := await stream.read(LONGEST_OUTPUT):
            yield chunk

    async for line in cut_lines(read(), LONGEST_OUTPUT):
        yield line.decode(errors="replace").rstrip()
