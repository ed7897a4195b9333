"""A real server on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket on a free port, and the URL of the API that will answer there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock, f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


def make_server(app: Any) -> uvicorn.Server:
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    config.timeout_graceful_shutdown = 5
    return uvicorn.Server(config)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serves ``app`` in a thread; the base URL for a client."""
    with listening() as (sock, url):
        server = make_server(app)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
