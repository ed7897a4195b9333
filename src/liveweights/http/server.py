"""The HTTP server of the API and of the gateway."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp

from liveweights.deadlines import CUT_OFF, DRAIN
from liveweights.http.connection import bounded
from liveweights.http.settings import ServerSettings
from liveweights.machine import allow_files

log = logging.getLogger(__name__)

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""One of a name's addresses that this machine does not have; the others will do."""
SPARE_FILES = 256
"""For everything but connections: the database, the record on disk, the engines."""


class Server(uvicorn.Server):
    """Serves until ``serve_and_drain`` is cancelled: then nothing new comes in, and what is there
    is answered. ``signed``: with ``server`` and ``date`` headers of our own."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, *, signed: bool = True, patience: int = DRAIN
    ) -> None:
        most = allow_connections(settings.connections.max)
        limits = msgspec.structs.replace(settings.connections, max=most)
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=bounded(limits),
                timeout_keep_alive=limits.keep_seconds,
                ws="none",
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=patience,
                server_header=signed,
                date_header=signed,
            )
        )

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the caller's: uvicorn would raise them again once it has ended."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind, and say where; ends the process where that cannot be."""
        await super().startup(sockets)
        for server in self.servers:
            for bound in server.sockets:
                host, port = bound.getsockname()[:2]
                log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    async def serve_and_drain(
        self, sockets: list[socket.socket] | None = None, *, leave: Callable[[], None] | None = None
    ) -> None:
        """Serve on ``sockets``, or where the settings say. ``leave`` ends what would go on for as
        long as somebody looks."""
        serving = asyncio.create_task(self.serve(sockets))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.should_exit = True
            if leave is not None:
                leave()
            await serving
            # What was cut off after all records how far it got.
            if tasks := set(self.server_state.tasks):
                await asyncio.wait(tasks, timeout=CUT_OFF)
            raise


class PortTaken(RuntimeError):
    """The API cannot listen where it was told to; ``in_use``: because somebody else does;
    ``passes``: because an address is not there yet, as while a machine starts."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        self.in_use = error.errno == errno.EADDRINUSE
        self.passes = error.errno in (errno.EADDRNOTAVAIL, socket.EAI_AGAIN)
        what = "is in use: stop what listens there, or say another --port" if self.in_use else None
        super().__init__(
            f"Port {port} on {host} {what or f'cannot be had: {error.strerror or error}'}."
        )


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of ``host``, bound but not listening yet. Raises PortTaken."""
    try:
        addresses = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise PortTaken(host, port, error) from error
    bound: list[socket.socket] = []
    failed = OSError("it has no address")
    for family, kind, protocol, _, address in dict.fromkeys(addresses):
        try:
            bound.append(_bind(socket.socket(family, kind, protocol), address))
        except OSError as error:
            failed = error
            if error.errno not in _NO_SUCH_ADDRESS:
                break
    else:
        if bound:
            return bound
    for one in bound:
        one.close()
    raise PortTaken(host, port, failed)


def _bind(sock: socket.socket, address: Any) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def allow_connections(wanted: int) -> int:
    """Let this process have so many connections open, each with one to an upstream; how many it
    may have, where the operating system allows fewer."""
    needed = 2 * wanted + SPARE_FILES
    files = allow_files(needed)
    if files >= needed:
        return wanted
    allowed = max(1, (files - SPARE_FILES) // 2)
    log.warning(
        "%d files may be open here (ulimit -n), so %d connections are taken, not %d",
        *(files, allowed, wanted),
    )
    return allowed
