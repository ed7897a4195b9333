"""A set of tools on a thread of its own: what it computes holds nobody else up.

What a tool answers is read, checked and written again by the SDK in one piece. On the event loop of
the API every other request would wait for that, and no time limit could end it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from liveweights.agent.tool import Listed, Toolset

LEAVE_SECONDS = 15.0
"""For which the end of the thread is waited for; what computes longer ends by itself."""
T = TypeVar("T")
Open = Callable[[], AbstractAsyncContextManager[Toolset]]


@dataclass(frozen=True, slots=True)
class ThreadTools:
    """``toolset`` as it is used from another thread than that of its ``loop``."""

    toolset: Toolset
    loop: asyncio.AbstractEventLoop

    async def list(self) -> Listed:
        return await self._ask(self.toolset.list())

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        return await self._ask(self.toolset.call(name, arguments))

    async def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


@asynccontextmanager
async def on_thread(opened: Open) -> AsyncGenerator[Toolset]:
    """What ``opened`` gives, on a thread that ends soon after it is left. Raises what entering it
    raises."""
    # Not the loop of the policy: another kind may not serve a thread that is not the main one.
    runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
    loop = runner.get_loop()
    leave = asyncio.Event()
    ready: Future[Toolset] = Future()
    ended: Future[None] = Future()

    async def stay() -> None:
        async with opened() as toolset:
            ready.set_result(toolset)
            await leave.wait()

    staying = loop.create_task(stay())

    async def wait() -> None:
        await staying

    def work() -> None:
        try:
            with runner:
                runner.run(wait())
        except BaseException as error:  # whoever waits is told
            ended.set_exception(error)
        else:
            ended.set_result(None)

    # A daemon: a process that ends does not wait for what a tool computes.
    threading.Thread(target=work, name="tools", daemon=True).start()
    there, over = asyncio.wrap_future(ready), asyncio.wrap_future(ended)
    try:
        await asyncio.wait({there, over}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            over.result()
        yield ThreadTools(ready.result(), loop)
    finally:
        with suppress(RuntimeError):  # the loop may have ended already
            loop.call_soon_threadsafe(leave.set if ready.done() else staying.cancel)
        await asyncio.wait({over}, timeout=LEAVE_SECONDS)
        there.cancel()
        if over.done() and not over.cancelled():
            over.exception()  # has been looked at
