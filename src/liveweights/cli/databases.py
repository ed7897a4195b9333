"""``liveweights db``: databases for agents and evaluations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
import psycopg
import typer

from liveweights import bounds
from liveweights.access.actions import OfDatabases
from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.agentdb import attach
from liveweights.agentdb.errors import HostError, NoDatabase, Refused, tell
from liveweights.agentdb.host import Host
from liveweights.agentdb.rows import OPERATOR, Database
from liveweights.agentdb.service import Address, Databases
from liveweights.agentdb.settings import MIB, DatabaseSettings
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    is_nowhere,
    read_config,
    refuse,
    write,
)
from liveweights.cli.output import say, show, show_json, show_table
from liveweights.cli.psql import find_psql, run_psql
from liveweights.stop_signals import on_stop
from liveweights.store.account import AccountError
from liveweights.store.database import Connection
from liveweights.store.embedded import ServerError
from liveweights.store.place import PlaceError
from liveweights.terminal import start_logging

db = typer.Typer(
    no_args_is_help=True,
    help="Postgres databases for agents: made in a moment, walled off, thrown away after.",
)
Name = Annotated[str, typer.Argument(help="Name: small letters, digits, _ . and -")]
Owner = Annotated[str, typer.Option(help="Whose database it is: an agent, a suite, a user.")]
Ttl = Annotated[
    float | None,
    typer.Option(
        min=0, max=bounds.SECONDS, help="Seconds until it is deleted; 0: never. Default: settings."
    ),
]
Size = Annotated[
    int | None, typer.Option("--size-mb", min=16, max=bounds.MIB, help="Largest size in MiB.")
]
Idle = Annotated[
    float | None,
    typer.Option(
        min=bounds.LEAST_SECONDS,
        max=bounds.SECONDS,
        help="Seconds without a query until it is paused.",
    ),
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="As the role that can only read.")]
T = TypeVar("T")
COLUMNS = ("name", "owner", "state", "level", "size", "limit", "source", "expires_at", "used_at")


Work: TypeAlias = Callable[[Databases], Awaitable[T]]


def _ask(home: Path, config: Path | None, owner: str, work: Work[T]) -> T:
    """Ask an owner's databases; ends the command where that cannot be done."""
    return asyncio.run(_work(home, read_config(config, home).databases, owner, work))


def _change(home: Path, config: Path | None, owner: str, event: Event, work: Work[T]) -> T:
    """As ``_ask``. Where ``home`` has a service, too, its audit has a row first, which is taken
    back if it cannot be done."""
    settings = read_config(config, home)

    async def do(conn: Connection) -> T:
        await note(conn, event)
        return await _work(home, settings.databases, owner, work)

    if is_nowhere(settings, home):
        return asyncio.run(_work(home, settings.databases, owner, work))
    return write(settings, home, do)


def _told(action: OfDatabases, name: str, owner: str) -> Event:
    return Event(action, name, {"owner": owner})


async def _work(home: Path, settings: DatabaseSettings, owner: str, work: Work[T]) -> T:
    try:
        async with Databases(folder_of(home), settings, owner=owner) as databases:
            return await work(databases)
    except (Refused, NoDatabase, HostError) as error:
        raise refuse(str(error)) from error
    except psycopg.Error as error:
        raise refuse(tell(error)) from error


def folder_of(home: Path) -> Path:
    return home.resolve() / "databases"


def _row(database: Database, names: dict[str, str]) -> dict[str, Any]:
    row = msgspec.to_builtins(database) | {
        "size": f"{database.size / MIB:.1f} MiB",
        "limit": f"{database.size_limit / MIB:.0f} MiB",
        "source": database.source and names.get(database.source, database.source),
    }
    for key in ("expires_at", "used_at"):
        moment = getattr(database, key)
        row[key] = moment and moment.astimezone().strftime("%d %b %H:%M:%S")
    return row


def _say(database: Database, address: Address | None, as_json: bool) -> None:
    if as_json:
        more = {"url": address.url, "sockets": address.sockets} if address else {}
        show_json(msgspec.to_builtins(database) | more)
    elif address:
        say(address.url)
    else:
        say(f"{database.name} is {database.state}")


@db.command()
def create(
    name: Name,
    script: Annotated[Path | None, typer.Option(help="SQL file to fill it with.")] = None,
    ttl: Ttl = None,
    size_mb: Size = None,
    idle: Idle = None,
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Make an empty database, or what a script makes of it, and print its URL."""
    if script is not None and not script.is_file():
        raise refuse(f"there is no file {script}")
    try:
        text = script.read_text(encoding="utf-8") if script else ""
    except UnicodeDecodeError as error:
        raise refuse(f"{script} is no UTF-8 text") from error

    async def work(databases: Databases) -> tuple[Database, Address]:
        made = await databases.create(name, script=text, ttl=ttl, size_mb=size_mb, idle=idle)
        return made, await databases.connect(name)

    _say(*_change(home, config, owner, _told("create database", name, owner), work), as_json)


@db.command()
def fork(
    source: Annotated[str, typer.Argument(help="What to copy; best a frozen one.")],
    name: Name,
    ttl: Ttl = None,
    size_mb: Size = None,
    idle: Idle = None,
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Copy a database as it is now, and print the copy's URL."""

    async def work(databases: Databases) -> tuple[Database, Address]:
        made = await databases.fork(source, name, ttl=ttl, size_mb=size_mb, idle=idle)
        return made, await databases.connect(name)

    _say(*_change(home, config, owner, _told("fork database", name, owner), work), as_json)


@db.command()
def freeze(
    name: Name,
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Make it a template: unchangeable, forked without disturbing anybody. There is no way back.

    What the operator has frozen can be forked by every owner.
    """

    async def work(databases: Databases) -> Database:
        return await databases.freeze(name)

    _say(_change(home, config, owner, _told("freeze database", name, owner), work), None, as_json)


@db.command("list")
def list_(
    owner: Annotated[str | None, typer.Option(help="Only this owner's.")] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """All databases, oldest first."""
    listed = _ask(
        home, config, owner or OPERATOR, lambda databases: databases.list(everyone=owner is None)
    )
    if as_json:
        show_json(listed)
        return
    names = {one.id: one.name for one in listed}
    show([_row(one, names) for one in listed], COLUMNS, False)


@db.command()
def sql(
    name: Name,
    text: Annotated[str, typer.Argument(help="Statements; - reads them from standard input.")],
    read_only: ReadOnly = False,
    rows: Annotated[
        int | None, typer.Option(min=1, max=bounds.COUNT, help="Most rows of a result.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=bounds.LEAST_SECONDS, max=bounds.SECONDS, help="Longest run, in seconds."),
    ] = None,
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Run SQL as the database's own role. A paused database is opened again."""
    script = sys.stdin.read() if text == "-" else text
    results = _ask(
        home,
        config,
        owner,
        lambda databases: databases.sql(
            name, script, read_only=read_only, rows=rows, seconds=seconds
        ),
    )
    if as_json:
        show_json(results)
        return
    for result in results:
        if result.columns:
            show_table(result.columns, result.rows)
        more = " (more rows were left out; see --rows)" if result.truncated else ""
        say(f"{result.status}{more}")


@db.command()
def connect(
    name: Name,
    read_only: ReadOnly = False,
    psql: Annotated[bool, typer.Option("--psql", help="Open psql on it.")] = False,
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Print the URL to connect with; a paused database is opened again."""
    program = find_psql() if psql else None
    if psql and program is None:
        raise refuse("there is no psql, neither on PATH nor with the embedded server")
    address = _ask(
        home, config, owner, lambda databases: databases.connect(name, read_only=read_only)
    )
    if program is not None:
        raise typer.Exit(run_psql([program, address.url]))
    if as_json:
        show_json(msgspec.to_builtins(address) | {"url": address.url})
    else:
        say(address.url)


@db.command()
def pause(
    name: Name,
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """End its sessions and close it until `connect` or `sql`. Again is harmless."""

    async def work(databases: Databases) -> Database:
        return await databases.pause(name)

    _say(_change(home, config, owner, _told("pause database", name, owner), work), None, as_json)


@db.command()
def limit(
    name: Name,
    ttl: Ttl = None,
    size_mb: Size = None,
    home: Home = HOME,
    config: Settings = None,
    owner: Owner = OPERATOR,
    as_json: Json = False,
) -> None:
    """Change how long it lives, from now, and how large it may be."""

    async def work(databases: Databases) -> Database:
        return await databases.limit(name, owner=owner, ttl=ttl, size_mb=size_mb)

    _say(_change(home, config, OPERATOR, _told("limit database", name, owner), work), None, as_json)


@db.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="Names.")],
    owner: Owner = OPERATOR,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Remove databases with everything in them. Again is harmless."""

    there = {one.name for one in _ask(home, config, owner, lambda databases: databases.list())}
    for name in names:
        if name in there:
            there.remove(name)
            event = _told("delete database", name, owner)
            _change(home, config, owner, event, partial(Databases.delete, name=name))
            say(f"{name} is deleted")
        else:
            say(f"{name} was not there")


@db.command()
def serve(home: Home = HOME, config: Settings = None) -> None:
    """Keep the server of the databases in the foreground, e.g. under systemd or in a container.

    Without it, the first command starts one in the background, which ends when it is not needed.
    """
    start_logging("%(asctime)s %(message)s")
    host = Host(
        folder_of(home),
        msgspec.structs.replace(read_config(config, home).databases, linger=bounds.SECONDS),
    )

    async def run() -> bool:
        on_stop(host.stopping.set)
        return await host.run()

    try:
        if not asyncio.run(run()):
            raise refuse(f"the databases in {home} have a server already; `liveweights db stop`")
    except (HostError, ServerError, PlaceError, AccountError) as error:
        raise refuse(str(error)) from error


@db.command()
def stop(
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Remove the server with all databases.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Stop the server of the databases; they are there again at the next command."""
    settings = read_config(config, home)

    async def run() -> None:
        try:
            await attach.stop(folder_of(home), settings.databases, destroy=destroy)
        except HostError as error:
            raise refuse(str(error)) from error

    async def do(conn: Connection) -> None:
        await note(conn, Event("destroy databases", "databases"))
        await run()

    if destroy and not is_nowhere(settings, home):
        write(settings, home, do)
    else:
        asyncio.run(run())


@db.command()
def mcp(
    owner: Annotated[
        str, typer.Option(help="The agent: it sees its own databases and shared templates.")
    ] = "agent",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Offer the databases to an agent as tools, over standard input and output (MCP)."""
    try:
        from liveweights.agentdb.tools import serve as serve_tools
    except ModuleNotFoundError as error:
        raise refuse("the MCP SDK is missing: pip install 'liveweights[mcp]'") from error
    if owner == OPERATOR:
        raise refuse("an agent cannot be the operator; name another --owner")
    settings = read_config(config, home).databases
    try:
        databases = Databases(folder_of(home), settings, owner=owner)
    except Refused as error:
        raise refuse(str(error)) from error
    asyncio.run(serve_tools(databases).run_stdio_async())
