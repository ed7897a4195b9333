from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liveweights.agentdb.endpoint import has_host
from liveweights.agentdb.peek import peek


def test_a_look_starts_no_server(tmp_path: Path) -> None:
    folder = tmp_path / "databases"
    assert asyncio.run(peek(folder)) is None
    assert not has_host(folder)
    assert not folder.exists()


def test_a_look_sees_everybodys(agents_folder: Path, opened: Callable[..., Any]) -> None:
    async def run() -> None:
        async with opened("one") as databases, opened("two") as others:
            await databases.create("shop")
            await others.create("shop")
            seen = await peek(agents_folder)
            assert seen is not None
            owners = {one.owner for one in seen if one.name == "shop"}
            assert owners == {databases.owner, others.owner}

    asyncio.run(run())
