"""Whether a process that is alive still answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

Address = tuple[str, int]
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_LOOKS = 5
"""Times that it is asked before it is taken for deaf."""


async def wait_until_deaf(address: Address, patience: float) -> None:
    """Return once no ``GET /healthz`` at ``address`` has had any answer for ``patience`` seconds.

    Any status is an answer: what cannot serve now says so, and may well recover.
    """
    clock = asyncio.get_running_loop().time
    pause = patience / _LOOKS
    heard, missed = clock(), 0
    while True:
        await asyncio.sleep(pause)
        if await answers(address, pause):
            heard, missed = clock(), 0
            continue
        missed += 1
        # Both: where this process did not get to run, neither says much of the other one.
        if missed >= _LOOKS // 2 and clock() - heard >= patience:
            return


async def answers(address: Address, patience: float) -> bool:
    """Whether ``GET /healthz`` gets a line of HTTP within ``patience`` seconds."""
    host, port = address
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(_EVERYWHERE.get(host, host), port)
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return (await reader.read(5)).startswith(b"HTTP")
    except (TimeoutError, OSError):
        return False
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()
