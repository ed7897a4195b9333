"""All sets of tools that this service runs, and who may use which."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from liveweights.agent.library import Library
from liveweights.agent.python import Python, share_of
from liveweights.agent.servers import Connect, connect_server, connected
from liveweights.agent.settings import BUILT_IN, DOCUMENTS, PYTHON, AgentSettings
from liveweights.agent.thread import on_thread
from liveweights.agent.tool import ToolError, Toolset, UnknownTools
from liveweights.agentdb.settings import DatabaseSettings
from liveweights.gate.sandbox import Limits, Sandbox, SandboxUnavailable, open_sandbox
from liveweights.http.slots import Slots
from liveweights.store.database import Pool

if TYPE_CHECKING:
    from mcp import Client

WITHHELD = ("connect_database",)
"""It gives an address on this machine with its password: nothing for whoever asks from outside."""
LARGEST_CHARACTER = 4
"""Bytes in UTF-8."""


class Shed:
    """``folder`` is where the databases for agents are."""

    def __init__(
        self,
        settings: AgentSettings,
        pool: Pool,
        folder: Path,
        databases: DatabaseSettings | None = None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._folder = folder
        self._databases = databases or DatabaseSettings()
        self._sandbox: Sandbox | None = None
        self._programs = Slots(settings.programs, 0)
        self._opening = asyncio.Lock()

    def list_labels(self, tenant: str) -> list[str]:
        """Those that the tenant may use."""
        there = [name for name in BUILT_IN if getattr(self._settings, name)]
        named = self._settings.servers.items()
        return there + [label for label, one in named if not one.tenants or tenant in one.tenants]

    def open(
        self, label: str, tenant: str, /, *, url: str | None = None
    ) -> AbstractAsyncContextManager[Toolset]:
        labels = self.list_labels(tenant)
        if label not in labels:
            listed = ", ".join(labels) or "none"
            raise UnknownTools(f"no tools are called {label[:64]!r} here; there are {listed}")
        server = self._settings.servers.get(label)
        if url is not None and (server is None or url.rstrip("/") != server.url.rstrip("/")):
            raise UnknownTools(f"the tools called {label!r} here are not at {url[:200]!r}")
        return self._open(label, tenant)

    @asynccontextmanager
    async def _open(self, label: str, tenant: str) -> AsyncGenerator[Toolset]:
        settings = self._settings
        seconds = settings.call_seconds
        if label in settings.servers:
            server = settings.servers[label]
            connect = connect_server(server, seconds)
            there = partial(connected, connect, seconds=seconds, allowed=server.tools)
            async with on_thread(there) as toolset:
                yield toolset
        elif label == DOCUMENTS:
            yield Library(self._pool, tenant)
        elif label == PYTHON:
            sandbox = await self._find_sandbox()
            yield Python(sandbox, Limits(seconds=share_of(seconds)), self._programs, tenant)
        else:
            connect = self._connect_databases(tenant)
            async with on_thread(
                partial(connected, connect, seconds=60.0, withheld=WITHHELD)
            ) as toolset:
                yield toolset

    async def _find_sandbox(self) -> Sandbox:
        async with self._opening:
            if self._sandbox is None:
                try:
                    self._sandbox = await open_sandbox()
                except SandboxUnavailable as error:
                    raise ToolError(str(error)) from error
            return self._sandbox

    def _connect_databases(self, tenant: str) -> Connect:
        @asynccontextmanager
        async def connect() -> AsyncGenerator[Client]:
            from mcp import Client

            from liveweights.agentdb.service import Databases
            from liveweights.agentdb.session import ANSWER
            from liveweights.agentdb.tools import serve

            # What a model does not read is not read for it.
            answer = min(ANSWER, LARGEST_CHARACTER * self._settings.characters)
            owner = owner_of(tenant)
            databases = Databases(
                self._folder, self._databases, owner=owner, answer=answer, connections=1
            )
            async with Client(serve(databases)) as client:
                yield client

        return connect


def owner_of(tenant: str) -> str:
    """A tenant's name as the owner of databases, which takes few characters only."""
    return f"tenant-{hashlib.sha256(tenant.encode()).hexdigest()[:32]}"
