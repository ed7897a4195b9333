"""A real server on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from liveweights.http.server import Server
from liveweights.serve.api.settings import ApiSettings


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket on a free port, and the URL of the API that will answer there. Who connects before
    there is a server waits for it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock, f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


def make_server(app: Any, settings: ApiSettings | None = None, *, signed: bool = True) -> Server:
    return Server(app, settings or ApiSettings(), signed=signed, patience=5)


@asynccontextmanager
async def answering(server: Server) -> AsyncGenerator[str]:
    """Runs ``server`` in this event loop; the base URL for a client."""
    with listening() as (sock, url):
        serve = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started and not serve.done():
                await asyncio.sleep(0.005)
            yield url
        finally:
            server.should_exit = True
            await serve


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serves ``app`` in a thread; the base URL for a client."""

    async def as_it_is(stack: AsyncExitStack) -> Any:
        return app

    with serving_opened(as_it_is) as url:
        yield url


@contextmanager
def serving_opened(open: Callable[[AsyncExitStack], Awaitable[Any]]) -> Iterator[str]:
    """The same for an app that is made in the thread's event loop, of what has to be closed
    there."""
    made = Future[Server]()

    async def run(sock: socket.socket) -> None:
        async with AsyncExitStack() as stack:
            try:
                server = make_server(await open(stack))
            except BaseException as error:
                made.set_exception(error)
                return
            made.set_result(server)
            await server.serve(sockets=[sock])

    with listening() as (sock, url):
        thread = threading.Thread(target=lambda: asyncio.run(run(sock)))
        thread.start()
        try:
            server = made.result()
            try:
                yield url
            finally:
                server.should_exit = True
        finally:
            thread.join()
