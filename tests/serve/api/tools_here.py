"""Sets of tools that are functions of the tests, and a service that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from liveweights.agent.settings import AgentSettings
from liveweights.agent.tool import (
    Agent,
    Described,
    Listed,
    ToolError,
    Toolset,
    UnknownTools,
    describe,
)

from .doubles import Api, make_api

Does = Callable[[Mapping[str, Any]], Any]
SEARCH = describe("search", "Search.", query="What to look for.")


def call(query: str = "Rome", name: str = "documents.search") -> str:
    """A model's call, as Qwen's family writes it."""
    arguments = f'{{"query": "{query}"}}'
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


class Functions:
    """A set of one tool, which does what it is told to; a coroutine is waited for."""

    def __init__(self, does: Does, tool: Described = SEARCH) -> None:
        self.does = does
        self.tool = tool
        self.calls: list[Mapping[str, Any]] = []
        self.open = self.opened = self.most = 0
        self.cancelled = 0

    async def list(self) -> Listed:
        return Listed([self.tool])

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        if name != self.tool.name:
            raise ToolError("no such tool")
        self.calls.append(arguments)
        try:
            given = self.does(arguments)
            return str(await given if asyncio.iscoroutine(given) else given)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class ToolsHere:
    def __init__(self, sets: Mapping[str, Functions]) -> None:
        self.sets = sets

    def open(
        self, label: str, tenant: str, /, *, url: str | None = None
    ) -> AbstractAsyncContextManager[Toolset]:
        if label not in self.sets:
            raise UnknownTools(f"no tools are called {label!r} here")

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Toolset]:
            one = self.sets[label]
            one.open += 1
            one.opened += 1
            one.most = max(one.most, one.open)
            try:
                yield one
            finally:
                one.open -= 1

        return opened()


def api_with(
    says: list[str], does: Does = lambda given: f"found {given['query']}", **how: Any
) -> tuple[Api, Functions]:
    """A service whose model says one text after the other, with the set ``documents``."""
    settings = AgentSettings(**how.pop("settings", {}))
    functions = Functions(does)
    sets = {"documents": functions, **how.pop("sets", {})}
    agent = Agent(ToolsHere(sets), settings)
    return make_api(says, agent=agent, **({"context_length": 16_384} | how)), functions
