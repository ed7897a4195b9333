"""The databases as tools of the Model Context Protocol, with the official SDK (extra ``mcp``)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from liveweights import __version__, bounds
from liveweights.agentdb.errors import HostError, NoDatabase, Refused, tell
from liveweights.agentdb.rows import Database
from liveweights.agentdb.service import Databases
from liveweights.agentdb.settings import MIB
from liveweights.agentdb.stdio import StdioServer

INSTRUCTIONS = """\
Postgres databases that you can make, copy, use and throw away. Each has its own roles and cannot
reach any other. They are deleted when their time is over, and paused while nobody uses them;
run_sql and connect_database wake them. Before you try something that may go wrong, fork."""

Name = Annotated[str, Field(description="Name of the database: small letters, digits, _ . and -")]
Ttl = Annotated[
    Annotated[float, Field(gt=0, le=bounds.SECONDS, allow_inf_nan=False)] | None,
    Field(description="Seconds until it is deleted. Default: a day."),
]
Size = Annotated[
    Annotated[int, Field(ge=16, le=bounds.MIB)] | None, Field(description="Largest size in MiB.")
]
ReadOnly = Annotated[bool, Field(description="Use the role that can only read.")]


class Described(BaseModel):
    name: str
    state: Annotated[str, Field(description="ready, paused, or frozen (can only be forked)")]
    level: Annotated[
        str, Field(description="open; over its size limit: reduced (only delete), closed")
    ]
    size_mb: float
    size_limit_mb: float
    expires_at: str | None


class Connected(BaseModel):
    url: Annotated[str, Field(description="For any Postgres client on this machine.")]
    host: str
    port: int
    database: str
    user: str
    password: str
    socket_folder: Annotated[str, Field(description="As host, where there is no network.")]


class Statement(BaseModel):
    status: Annotated[str, Field(description="What Postgres says, e.g. INSERT 0 3")]
    columns: list[str]
    rows: list[list[Any]]
    truncated: Annotated[bool, Field(description="There were more rows than are shown.")]


class Deleted(BaseModel):
    existed: bool


def describe(database: Database) -> Described:
    return Described(
        name=database.name,
        state=database.state,
        level=database.level,
        size_mb=round(database.size / MIB, 1),
        size_limit_mb=database.size_limit / MIB,
        expires_at=database.expires_at and database.expires_at.isoformat(timespec="seconds"),
    )


@asynccontextmanager
async def _explained() -> AsyncGenerator[None]:
    """What the caller can do something about goes to it as it is; the rest is our fault."""
    try:
        yield
    except (Refused, NoDatabase, HostError) as error:
        raise ToolError(str(error)) from error
    except psycopg.Error as error:
        raise ToolError(tell(error)) from error


@dataclass(frozen=True, slots=True)
class Tools:
    """What an agent may do: everything here is about its own databases only."""

    databases: Databases

    async def create_database(
        self, name: Name, ttl_seconds: Ttl = None, size_mb: Size = None
    ) -> Described:
        """Make an empty Postgres database."""
        async with _explained():
            made = await self.databases.create(name, ttl=ttl_seconds, size_mb=size_mb)
            return describe(made)

    async def fork_database(
        self,
        source: Annotated[str, Field(description="One of yours, or a shared template.")],
        name: Name,
        ttl_seconds: Ttl = None,
        size_mb: Size = None,
    ) -> Described:
        """Copy a database as it is now; the copy goes its own way."""
        async with _explained():
            made = await self.databases.fork(source, name, ttl=ttl_seconds, size_mb=size_mb)
            return describe(made)

    async def list_databases(self) -> list[Described]:
        """Your databases, oldest first."""
        async with _explained():
            return [describe(database) for database in await self.databases.list()]

    async def run_sql(
        self,
        name: Name,
        sql: Annotated[
            str,
            Field(
                description="Statements, separated by semicolons, in one transaction unless they"
                " say otherwise. Nothing of the session is kept for the next call."
            ),
        ],
        read_only: ReadOnly = False,
    ) -> list[Statement]:
        """Run SQL and get what each statement gave."""
        async with _explained():
            results = await self.databases.sql(name, sql, read_only=read_only)
        return [
            Statement(
                status=result.status,
                columns=list(result.columns),
                rows=[list(row) for row in result.rows],
                truncated=result.truncated,
            )
            for result in results
        ]

    async def connect_database(self, name: Name, read_only: ReadOnly = False) -> Connected:
        """How a program connects to it, with a role and a password of its own."""
        async with _explained():
            address = await self.databases.connect(name, read_only=read_only)
        return Connected(
            url=address.url,
            host="127.0.0.1",
            port=address.port,
            database=address.database,
            user=address.user,
            password=address.password,
            socket_folder=address.sockets,
        )

    async def pause_database(self, name: Name) -> Described:
        """End its sessions and close it until it is next used. Its data stay."""
        async with _explained():
            return describe(await self.databases.pause(name))

    async def freeze_database(self, name: Name) -> Described:
        """Make it a template for good: nobody can change it, forking it disturbs nobody."""
        async with _explained():
            return describe(await self.databases.freeze(name))

    async def delete_database(self, name: Name) -> Deleted:
        """Remove it and everything in it. Again is harmless."""
        async with _explained():
            return Deleted(existed=await self.databases.delete(name))


def serve(databases: Databases) -> MCPServer[None]:
    """The server; ``databases`` is opened with it."""

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncGenerator[None]:
        async with databases:
            yield

    server = StdioServer(
        "liveweights-databases",
        version=__version__,
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        log_level="WARNING",
    )
    tools = Tools(databases)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    makes = ToolAnnotations(destructive_hint=False, open_world_hint=False)
    repeats = ToolAnnotations(destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    destroys = ToolAnnotations(destructive_hint=True, open_world_hint=False)
    removes = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool, hints in (
        (tools.create_database, makes),
        (tools.fork_database, makes),
        (tools.list_databases, reads),
        (tools.run_sql, destroys),
        (tools.connect_database, repeats),
        (tools.pause_database, repeats),
        (tools.freeze_database, repeats),
        (tools.delete_database, removes),
    ):
        server.add_tool(tool, annotations=hints)
    return server
