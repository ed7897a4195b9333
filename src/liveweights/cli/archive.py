"""Commands for whoever keeps the record: archive, restore, forget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from liveweights.cli.context import HOME, Home, Json, Settings, query, read_config, refuse
from liveweights.cli.output import say, show, show_json
from liveweights.config import Config
from liveweights.record import archive as archives
from liveweights.record.archive import Archived, ArchiveError
from liveweights.record.parquet import ParquetUnavailable
from liveweights.store.database import Connection

T = TypeVar("T")
COLUMNS = ("day", "generations", "feedback", "files", "archived_at", "restored_at")
Days = Annotated[
    list[str] | None, typer.Argument(help="Such as 2026-11-01; default: what [record] says.")
]


def archive(
    days: Days = None,
    listed: Annotated[bool, typer.Option("--list", help="Only show what was archived.")] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Write days that are over to Parquet files and take their rows out of Postgres.

    Rollups stay, so every question that they answer is answered as before. DuckDB, pandas and
    Spark read the files: select * from 'runs/home/archive/*.generations.parquet'.
    """
    settings = read_config(config, home)
    record = settings.record
    folder = record.archive_folder(home.resolve()) if record.archive else None
    given = [_day(text) for text in days or []]

    async def ask(conn: Connection) -> list[Archived]:
        if listed:
            return await archives.read_archives(conn)
        today = datetime.now(UTC).date()
        chosen = given or await archives.find_due(conn, record, today)
        if late := [day for day in chosen if day >= today]:
            raise ArchiveError(f"{late[0]} is not over")
        return [await archives.archive(conn, day, folder) for day in chosen]

    archived = _run(settings, home, ask)
    _show(archived, as_json)
    if not (listed or as_json or given or record.days):
        say("[record] days is 0: days stay in Postgres until they are named here")


def restore(
    days: Annotated[list[str], typer.Argument(help="Such as 2026-11-01.")],
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Bring archived days back into Postgres; they stay until they are archived by name."""
    settings = read_config(config, home)
    folder = settings.record.archive_folder(home.resolve())
    chosen = [_day(text) for text in days]

    async def ask(conn: Connection) -> list[Archived]:
        return [await archives.restore(conn, day, folder) for day in chosen]

    _show(_run(settings, home, ask), as_json)


def forget(
    user: Annotated[str, typer.Argument(help="The `user` of the requests.")],
    tenant: Annotated[str, typer.Option(help="Whose user it is.")] = "default",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Remove everything that a user asked, was answered and said: rows, archived days, files.

    An open cycle that had read of it ends, and starts again without. Weights cannot be made to
    forget: the checkpoints that the rows ever influenced are named, so that they can be retired.
    Ends with 1 if something could not be removed now.
    """
    from liveweights.cycle.forgetting import Done, forget_user

    settings = read_config(config, home)
    where = home.resolve()

    async def ask(conn: Connection) -> Done:
        return await forget_user(
            conn,
            where,
            tenant,
            user,
            archive=settings.record.archive_folder(where),
            is_embedded=settings.database_url() is None,
        )

    done = _run(settings, home, ask)
    gone = done.forgotten
    if as_json:
        show_json(
            {
                **msgspec.to_builtins(gone),
                "days": [str(day) for day in done.days],
                "restarted": done.restarted,
                "left": done.left,
            }
        )
    else:
        say(f"{gone.generations} generations and {gone.feedback} rows of feedback removed")
        for day in done.days:
            say(f"the files of {day} were written anew without them")
        for cycle in done.restarted:
            say(f"cycle {cycle} had read of them and starts again")
        for checkpoint in gone.checkpoints:
            say(f"{checkpoint} was influenced by them")
        for sentence in done.left:
            say(sentence, fg="yellow", err=True)
    if done.left:
        raise typer.Exit(1)


def _run(config: Config, home: Path, ask: Callable[[Connection], Awaitable[T]]) -> T:
    try:
        return query(config, home, ask)
    except (ArchiveError, ParquetUnavailable) as error:
        raise refuse(str(error)) from error


def _show(archived: list[Archived], as_json: bool) -> None:
    rows = [msgspec.to_builtins(one) for one in archived]
    if as_json:
        show_json(rows)
    else:
        for row in rows:
            row["files"] = " ".join(row["files"])
        show(rows, COLUMNS, False)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise refuse(f"{text!r} is no day; write it as 2026-11-01") from error
