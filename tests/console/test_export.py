"""An export reads no further than somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from liveweights.console.export import send_lines


@pytest.mark.parametrize("heard", [0, 1, 3])
def test_an_export_ends_where_its_client_leaves(heard: int) -> None:
    sent: list[Any] = []
    looks = 0
    leaves, ended = asyncio.Event(), asyncio.Event()

    async def read() -> AsyncGenerator[bytes]:
        nonlocal looks
        try:
            while True:
                looks += 1
                if looks > heard:
                    leaves.set()
                    await asyncio.Event().wait()  # a look that takes long
                yield b"{}\n"
        finally:
            ended.set()

    async def receive() -> Any:
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        async with asyncio.timeout(20), aclosing(read()) as lines:
            await send_lines(receive, send, lines)
        assert ended.is_set()

    asyncio.run(scenario())
    assert (looks, sum("body" in one for one in sent)) == (heard + 1, heard)
    assert all(one.get("more_body", True) for one in sent)  # it is not said to be whole
