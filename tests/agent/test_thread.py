"""Sets of tools on threads of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from liveweights.agent.calls import make_call
from liveweights.agent.thread import on_thread
from liveweights.agent.tool import Listed, ToolError, Toolset, describe

from .conformance import ToolsetConformance


class Threads:
    """Says on which thread it is; computes until it is let go, or waits until it is cancelled."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.cancelled = threading.Event()

    async def list(self) -> Listed:
        return Listed((describe("where", "Says where it is."),))

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        match name:
            case "where" if not arguments.get("query"):
                return threading.current_thread().name
            case "compute":
                assert self.go_on.wait(30)
                return "computed"
            case "wait":
                try:
                    await asyncio.sleep(300)
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
        raise ToolError("no such tool")


@asynccontextmanager
async def opened(tools: Toolset) -> AsyncGenerator[Toolset]:
    yield tools


class TestOnThread(ToolsetConformance):
    good = ("where", {})
    says = "tools"

    def open(self) -> AbstractAsyncContextManager[Toolset]:
        return on_thread(lambda: opened(Threads()))

    def test_wrong_arguments_are_an_error(self) -> None:  # type: ignore[override]
        """They are the set's own matter."""


def test_what_it_computes_holds_nobody_up_and_runs_out_of_time() -> None:
    tools = Threads()

    async def work() -> None:
        async with on_thread(lambda: opened(tools)) as toolset:
            late = await make_call(toolset, "compute", "{}", seconds=0.05, characters=100)
            assert (late.failed, "did not answer" in late.output) == (True, True)
            tools.go_on.set()
            assert await toolset.call("compute", {}) == "computed"

    asyncio.run(work())


def test_a_call_that_is_cancelled_ends_there_too() -> None:
    tools = Threads()

    async def work() -> None:
        async with on_thread(lambda: opened(tools)) as toolset:
            late = await make_call(toolset, "wait", "{}", seconds=0.05, characters=100)
            assert late.failed
            assert await asyncio.to_thread(tools.cancelled.wait, 30)

    asyncio.run(work())


def test_what_entering_raises_is_raised_and_the_thread_ends() -> None:
    @asynccontextmanager
    async def failing() -> AsyncGenerator[Toolset]:
        raise ToolError("nobody is there")
        yield

    @asynccontextmanager
    async def endless() -> AsyncGenerator[Toolset]:
        await asyncio.sleep(300)
        yield Threads()

    async def work() -> None:
        with pytest.raises(ToolError, match="nobody is there"):
            async with on_thread(failing):
                raise AssertionError
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), on_thread(endless):
                raise AssertionError
        with pytest.raises(ZeroDivisionError):
            async with on_thread(lambda: opened(Threads())):
                raise ZeroDivisionError

    asyncio.run(work())
    for one in threading.enumerate():
        if one.name == "tools":
            one.join(30)
            assert not one.is_alive()
