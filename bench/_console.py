"""The console in a process of its own: ``python bench/_console.py DSN PORT KEY``."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvloop

from liveweights.app.server import describe_subject
from liveweights.app.sources import make_sources
from liveweights.config import Config
from liveweights.console.entry import Entry
from liveweights.console.pages import Console
from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.http.server import Server
from liveweights.record.writer import Writer
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import open_pool


async def serve(dsn: str, port: int, key: str) -> None:
    settings = ApiSettings(operator_key=key, port=port)
    config, home = Config(alias="code", api=settings), Path("/nowhere")
    subject = describe_subject(config, home, make_sources(lambda: config, home))
    pool = await open_pool(dsn)
    async with Writer(pool) as writer:
        entry = Entry(pool, make_authenticator(settings), settings)
        console = Console(pool, lambda: subject, entry, writer)
        app = Application(console.routes(), Metrics(), Hosts(()))
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            await Server(app, settings, signed=False, patience=1).serve(sockets=[sock])
    await pool.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
