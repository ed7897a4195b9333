"""``liveweights import``: old logs of answers and reactions into the record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.app.imports import Imported, ImportRefused, check_days, write_logs
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    find_model,
    is_nowhere,
    open_server,
    query,
    read_config,
    refuse,
)
from liveweights.cli.output import say, show_json
from liveweights.config import Config
from liveweights.release.models import read_rows
from liveweights.serve.gateway.logs import LogError, LogReader
from liveweights.store.database import Connection, open_pool
from liveweights.store.partitions import day_of

DEFAULT = "default"
"""The tenant of answers of which no other is told."""
SHOWN = 10
"""Bad lines that are named."""


def import_logs(
    file: Annotated[Path, typer.Argument(help="JSON Lines, as docs/import.md says.")],
    home: Home = HOME,
    config: Settings = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="Whose cycles learn from it, also a tenant's branch (`code:acme`); default: the "
            "configured one."
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(help="Whose answers these are; default: the branch's, else `default`."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Read every line and write none.")] = False,
    as_json: Json = False,
) -> None:
    """Record old answers with what became of them, so that the next cycles learn from them.

    Nothing is written before every line has been read and found right. May be repeated.
    """
    settings = read_config(config, home)
    if not file.is_file():
        raise refuse(f"there is no file {file}")
    name, whose = alias or find_model(settings, None).alias, tenant or DEFAULT
    if not check and not is_nowhere(settings, home):
        name, whose = _find_place(settings, home, name, tenant)
    reader = LogReader(name, whose, settings.api)
    days, count = _check(file, reader)
    if check:
        if as_json:
            show_json({"lines": count, "days": sorted(days)})
        else:
            say(f"{file} is in order")
        return
    kept = settings.record.days
    oldest = min(days, default=None)
    if kept and oldest and oldest < datetime.now(UTC).date() - timedelta(days=kept):
        say(
            f"the oldest answers are of {oldest}: [record] days = {kept} takes them out of "
            "Postgres again within the hour",
            fg="yellow",
            err=True,
        )

    async def run() -> Imported:
        async with open_server(settings, home.resolve()) as dsn:
            pool = await open_pool(dsn)
            try:
                await check_days(pool, days)
                async with pool.connection() as conn:  # it is written in many transactions
                    details = {"tenant": whose, "lines": count}
                    await note(conn, Event("import logs", reader.alias, details))
                lines = (reader.read(line) for _, line in _lines(file))
                return await write_logs(pool, lines)
            finally:
                await pool.close()

    try:
        imported = asyncio.run(run())
    except ImportRefused as error:
        raise refuse(f"{error}. What was written before stays; repeat the command.") from error
    except LogError as error:
        raise refuse(f"{file} has changed meanwhile: {error}") from error
    if as_json:
        show_json(msgspec.to_builtins(imported))
        return
    say(
        f"{imported.generations} answers and {imported.feedback} rows of feedback recorded for "
        f"{reader.alias!r}; {imported.generations_known} and {imported.feedback_known} were known"
    )
    if imported.forgotten:
        say(f"{imported.forgotten} answers of users who were forgotten are left out")


def _find_place(config: Config, home: Path, name: str, tenant: str | None) -> tuple[str, str]:
    """The model and the tenant that answers are recorded under: a branch's are its model's. Warns
    of a name that nothing is served under, and ends the command where a branch is another tenant's.
    """
    standing, added = query(config, home, _read_names)
    if name in standing:
        model, owner = standing[name]
        if owner is not None and tenant not in (None, owner):
            raise refuse(f"{name} is the branch of {owner!r}, and --tenant says {tenant!r}")
        return model, tenant or owner or DEFAULT
    if name not in {*config.names(), *added}:
        say(
            f"no model is called {name!r} yet: nothing learns from this until one is",
            fg="yellow",
            err=True,
        )
    return name, tenant or DEFAULT


async def _read_names(conn: Connection) -> tuple[dict[str, tuple[str, str | None]], set[str]]:
    """Aliases with their models and tenants, and the models that were added."""
    cursor = await conn.execute("select alias, model, tenant from standing")
    standing = {alias: (model, tenant) for alias, model, tenant in await cursor.fetchall()}
    return standing, {row.name for row in await read_rows(conn)}


def _check(file: Path, reader: LogReader) -> tuple[set[date], int]:
    """The days that the lines are of, and how many there are. Ends the command where a line cannot
    be read."""
    days = set[date]()
    bad: list[str] = []
    count = 0
    for number, line in _lines(file):
        count += 1
        try:
            days |= {day_of(one.id) for one in reader.read(line).generations[:1]}
        except LogError as error:
            bad.append(f"line {number}: {error}")
    if bad:
        more = [f"... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
        head = f"{len(bad)} of {count} lines of {file} cannot be read, so none was written:"
        raise refuse("\n".join([head, *bad[:SHOWN], *more]))
    return days, count


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line
