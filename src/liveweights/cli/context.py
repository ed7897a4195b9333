"""What every command shares: options, settings, the service's database, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import psycopg
import typer

from liveweights import bounds
from liveweights.access.audit import Do
from liveweights.access.commands import carry_out_command
from liveweights.app.bases import at_bases
from liveweights.app.running import read_running, url_of
from liveweights.cli.database_faults import describe_fault
from liveweights.config import Config, load_config, read_tables
from liveweights.cycle.bases import Standing, read_bases
from liveweights.holder import is_held
from liveweights.meter.price_rows import CurrencyError
from liveweights.model_table import ConfigError, ModelSettings, read_table
from liveweights.release.alias import AliasError, name_branch
from liveweights.release.models import Row, read_rows
from liveweights.store.account import AccountError
from liveweights.store.binaries import NoBinaries
from liveweights.store.database import BadAddress, Connection, check_dsn
from liveweights.store.embedded import EmbeddedPostgres, ServerError
from liveweights.store.place import PlaceError
from liveweights.terminal import clean
from liveweights.weights.registry import NotRegistered

Home = Annotated[Path, typer.Option(help="Folder of the service: database, checkpoints, cycles.")]
Settings = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (TOML); default: those of the home's service."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Public name of the model, where the service has several."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str, typer.Option(help="Of the API; default: the home's service.")]
ApiKey = Annotated[
    str,
    typer.Option(
        envvar="OPENAI_API_KEY",
        help="API key, for a service elsewhere; that of the home is asked as itself.",
    ),
]
Cases = Annotated[
    int, typer.Option(min=0, max=bounds.COUNT, help="Most cases of each suite; 0: all.")
]
CaseSeed = Annotated[
    int, typer.Option(min=0, max=bounds.COUNT, help="What the cases' seeds are made from.")
]
Concurrency = Annotated[int, typer.Option(min=1, max=4096, help="Cases at the same time.")]
T = TypeVar("T")
HOME = Path("runs/home")


def read_config(path: Path | None, home: Path | None, **changes: Any) -> Config:
    """The settings file, or without one the settings of the service of ``home``, with what the
    command line changes; ends the command if it is wrong. ``home`` is None for what asks no
    service."""
    try:
        running = read_running(home.resolve()) if path is None and home is not None else None
        config = running.config if running else load_config(path)
        given = {key: value for key, value in changes.items() if value is not None}
        for section in ("api", "engine", "gateway", "learn"):
            inner = {k: v for k, v in given.pop(section, {}).items() if v is not None}
            if inner:
                given[section] = msgspec.structs.replace(getattr(config, section), **inner)
        config = msgspec.convert(
            msgspec.to_builtins(msgspec.structs.replace(config, **given)), Config
        )
        config.check_models()
        return config
    except (ConfigError, msgspec.ValidationError) as error:
        raise refuse(str(error)) from error
    except PermissionError as error:
        raise refuse_closed(error) from error


def find_model(config: Config, name: str | None) -> ModelSettings:
    """The model of that public name, or the only one; ends the command where there is none."""
    try:
        return config.find_model(name or None)
    except ConfigError as error:
        raise refuse(f"{error}; --model NAME") from error


def find_url(url: str, config: Config, home: Path) -> str:
    """Where to ask the API: at ``url``, or where the service of ``home`` said that it listens."""
    if url:
        return url
    try:
        running = read_running(home.resolve())
    except ConfigError:
        running = None
    return running.url if running else url_of(config.api.host, config.api.port)


def with_added(config: Config, name: str | None, home: Path) -> Config:
    """The settings with the model of that public name, where it was added to the service that runs
    in ``home``; ends the command where its row is not understood."""
    if not name or name in config.names() or is_nowhere(config, home):
        return config
    added = {row.name: row for row in query(config, home, read_rows)}
    # What a tenant has of its own goes by its model.
    model = next(
        (one for one in added if name == one or name.startswith(name_branch(one, ""))), None
    )
    if model is None:
        return config
    try:
        return config.with_models({model: read_table(model, added[model].settings)})
    except ConfigError as error:
        raise refuse(str(error)) from error


def with_all_added(config: Config, home: Path) -> Config:
    """The settings with every model that was added to the service that runs in ``home``, as far as
    its row is understood, and each on the base that its alias was switched to."""
    if is_nowhere(config, home):
        return config

    async def ask(conn: Connection) -> tuple[list[Row], dict[str, Standing]]:
        return await read_rows(conn), await read_bases(conn)

    added, bases = query(config, home, ask)
    tables = read_tables(config, {row.name: row.settings for row in added})
    return at_bases(config.with_models(tables), bases)


def is_nowhere(config: Config, home: Path) -> bool:
    """Whether there is no database that could be asked yet."""
    return config.database_url() is None and not (home / "postgres").exists()


def refuse(message: str) -> typer.Exit:
    """Say what is wrong; raise what this returns."""
    typer.secho(clean(message, keep="\n\t"), fg="red", err=True)
    return typer.Exit(2)


def refuse_closed(error: PermissionError) -> typer.Exit:
    """As ``refuse``, for a file that this user may not read."""
    return refuse(
        f"{error.filename} is closed to this user ({error.strerror}): run the command as the user"
        " of the service, or as root"
    )


@asynccontextmanager
async def open_server(config: Config, home: Path) -> AsyncGenerator[str]:
    """The connection string of the service's database, which is started if it is not running, and
    ended then unless the service has come meanwhile."""
    dsn = config.database_url()
    if dsn is None and not (home / "postgres").exists():
        raise refuse(f"there is no service in {home}; start one with `liveweights up --home ...`")
    server = None if dsn else EmbeddedPostgres(home / "postgres")
    try:
        if server:
            try:
                dsn = await asyncio.to_thread(server.start)
            except PermissionError as error:
                raise refuse_closed(error) from error
        assert dsn is not None
        check_dsn(dsn)
        yield dsn
    except (AccountError, BadAddress, NoBinaries, PlaceError) as error:
        raise refuse(str(error)) from error
    except ServerError as error:
        raise refuse(f"the database cannot be reached: {error}") from error
    except psycopg.Error as error:
        told = await asyncio.to_thread(describe_fault, dsn, error) if dsn else str(error)
        if told is None:
            raise
        raise refuse(told) from error
    finally:
        if server and server.owned:
            await asyncio.to_thread(server.stop, unless=partial(is_held, home))


@asynccontextmanager
async def open_database(
    config: Config, home: Path, *, writes: bool = False
) -> AsyncGenerator[Connection]:
    """A connection to the service's database, in which Postgres refuses every change but where it
    ``writes``: whoever does has the audit to think of (``access.commands.note``)."""
    async with (
        open_server(config, home) as dsn,
        await psycopg.AsyncConnection.connect(dsn) as conn,
    ):
        if not writes:
            await conn.set_read_only(True)
        yield conn


def query(config: Config, home: Path, ask: Callable[[Connection], Awaitable[T]]) -> T:
    """Ask the service's database, and change nothing; ends the command where there is no answer."""
    return _run(config, home, ask, writes=False)


def change(config: Config, home: Path, do: Do[T]) -> T:
    """Change something in the service's database, in one transaction with its row of the audit;
    ends the command where that cannot be done."""
    return write(config, home, lambda conn: carry_out_command(conn, do))


def write(config: Config, home: Path, do: Callable[[Connection], Awaitable[T]]) -> T:
    """As ``change``, for what takes several transactions, or is a record of another kind: ``do``
    notes by itself what it changes (``access.commands.note``)."""
    return _run(config, home, do, writes=True)


def _run(
    config: Config, home: Path, do: Callable[[Connection], Awaitable[T]], *, writes: bool
) -> T:
    where = home.resolve()

    async def run() -> T:
        async with open_database(config, where, writes=writes) as conn:
            return await do(conn)

    try:
        return asyncio.run(run())
    except (LookupError, AliasError, NotRegistered, CurrencyError) as error:
        raise refuse(str(error)) from error
