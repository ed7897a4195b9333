"""What every set of tools promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from liveweights.agent.servers import find_fault
from liveweights.agent.tool import ToolError, Toolset

Use = Callable[[Toolset], Awaitable[None]]


class ToolsetConformance:
    """``open`` gives the set; ``good`` is a call that works, and ``says`` is in what it gives."""

    good: tuple[str, dict[str, Any]]
    says: str

    def open(self) -> AbstractAsyncContextManager[Toolset]:
        raise NotImplementedError

    def use(self, work: Use) -> None:
        async def scenario() -> None:
            async with self.open() as toolset:
                await work(toolset)

        asyncio.run(scenario())

    def test_what_it_lists_can_be_offered(self) -> None:
        async def work(toolset: Toolset) -> None:
            listed = await toolset.list()
            names: list[str] = []
            for tool in listed.tools:
                assert find_fault(tool.name, tool.parameters, names) is None
                assert tool.description
                names.append(tool.name)
            assert self.good[0] in names
            assert listed == await toolset.list()

        self.use(work)

    def test_a_call_gives_text(self) -> None:
        async def work(toolset: Toolset) -> None:
            name, arguments = self.good
            assert self.says in await toolset.call(name, arguments)

        self.use(work)

    def test_what_it_does_not_have_is_an_error(self) -> None:
        async def work(toolset: Toolset) -> None:
            with pytest.raises(ToolError):
                await toolset.call("no_such_tool", {})

        self.use(work)

    @pytest.mark.parametrize("arguments", [{}, {"query": 3, "code": [], "name": None, "text": {}}])
    def test_wrong_arguments_are_an_error(self, arguments: dict[str, Any]) -> None:
        async def work(toolset: Toolset) -> None:
            with pytest.raises(ToolError):
                await toolset.call(self.good[0], arguments)
            name, right = self.good
            assert self.says in await toolset.call(name, right)  # and goes on

        self.use(work)
