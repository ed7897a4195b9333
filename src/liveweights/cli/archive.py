"""Commands for whoever keeps the record: archive, restore, forget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    query,
    read_config,
    refuse,
    with_all_added,
    write,
)
from liveweights.cli.output import say, show, show_json
from liveweights.config import Config
from liveweights.record import archive as archives
from liveweights.record.archive_rows import Archived, ArchiveError, read_archives
from liveweights.record.archive_upkeep import find_due
from liveweights.record.parquet import ParquetUnavailable
from liveweights.release import aliases
from liveweights.store.database import Connection

if TYPE_CHECKING:
    from liveweights.cycle.forgetting import Done
    from liveweights.cycle.unlearning import Unlearnt

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
    Spark read the files: select * from 'runs/home/archive/*.generations*.parquet'.
    """
    settings = read_config(config, home)
    record = settings.record
    folder = record.archive_folder(home.resolve())
    given = [_day(text) for text in days or []]

    async def also(conn: Connection, gone: Archived) -> None:
        details = {"generations": gone.generations, "files": [*gone.files]}
        await note(conn, Event("archive day", f"{gone.day}", details))

    async def work(conn: Connection) -> list[Archived]:
        today = datetime.now(UTC).date()
        chosen = given or await find_due(conn, record, today)
        if late := [day for day in chosen if day >= today]:
            raise ArchiveError(f"{late[0]} is not over")
        return [
            await archives.archive(conn, day, folder, keep=record.archive, also=also)
            for day in chosen
        ]

    archived = query(settings, home, read_archives) if listed else _write(settings, home, work)
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

    async def also(conn: Connection, back: Archived) -> None:
        details = {"generations": back.generations, "files": [*back.files]}
        await note(conn, Event("restore day", f"{back.day}", details))

    async def work(conn: Connection) -> list[Archived]:
        return [await archives.restore(conn, day, folder, also=also) for day in chosen]

    _show(_write(settings, home, work), as_json)


def forget(
    user: Annotated[str, typer.Argument(help="The `user` of the requests.")],
    tenant: Annotated[str, typer.Option(help="Whose user it is.")] = "default",
    unlearn: Annotated[
        bool,
        typer.Option(
            "--unlearn",
            help="Compute what is live anew as if the user had never been, and release that.",
        ),
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Remove everything that a user asked, was answered and said: rows, archived days, files.

    An open cycle that had read of it ends, and starts again without. The checkpoints that the rows
    ever influenced are named. What they learnt stays in them: with `--unlearn` every cycle since
    the first that read of the user is computed anew from the other rows, and what comes of it is
    released in place of what is live unless the gate sees harm. Ends with 1 if something could not
    be removed now.
    """
    from liveweights.cycle.forgetting import forget_user

    settings = with_all_added(read_config(config, home), home)
    where = home.resolve()

    async def also(conn: Connection) -> None:
        # Not whom: rows of the audit stay for ever.
        await note(conn, Event("forget user", tenant, {"unlearn": unlearn}))

    async def work(conn: Connection) -> Done:
        return await forget_user(
            conn,
            where,
            tenant,
            user,
            archive=settings.record.archive_folder(where),
            is_embedded=settings.database_url() is None,
            also=also,
        )

    done = _write(settings, home, work)
    unlearnt, failure = _unlearn(settings, home, done) if unlearn else ([], None)
    gone = done.forgotten
    if as_json:
        show_json(
            {
                **msgspec.to_builtins(gone),
                "days": [str(day) for day in done.days],
                "restarted": done.restarted,
                "left": done.left,
                "unlearnt": msgspec.to_builtins(unlearnt),
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
        if gone.checkpoints and not unlearn:
            say("what these learnt stays in them; `--unlearn` computes anew what is live")
        for one in unlearnt:
            _tell(one)
        for sentence in done.left:
            say(sentence, fg="yellow", err=True)
    if failure is not None:
        raise refuse(f"the rows are removed, but weights were not computed anew: {failure}")
    if done.left:
        raise typer.Exit(1)


def _unlearn(config: Config, home: Path, done: Done) -> tuple[list[Unlearnt], str | None]:
    """What became of each alias, and why it ended where it did not go on."""
    from liveweights.cycle.unlearning import unlearn
    from liveweights.cycle.updating import LearnerFailed

    unlearnt: list[Unlearnt] = []
    where = home.resolve()

    async def work(conn: Connection) -> None:
        local = {model.alias for model in config.list_models()}
        for alias in await aliases.read_all(conn):
            if alias.model in local:
                worker = config.for_worker(alias.name)
                also = partial(note, event=Event("unlearn user", alias.name))
                influenced = done.forgotten.checkpoints
                one = await unlearn(conn, worker, where, influenced, also=also)
                unlearnt.extend([one] if one is not None else [])

    try:
        write(config, home, work)
    except (OSError, ValueError, LearnerFailed) as error:
        return unlearnt, str(error)
    return unlearnt, None


def _tell(one: Unlearnt) -> None:
    for turn in one.turns:
        apart = "" if turn.distance is None else f", {turn.distance:.1%} of its norm apart"
        how = f"{turn.taught} rows taught" if turn.taught else "nothing is left to learn from"
        say(f"cycle {turn.cycle} was computed anew, {how}: {turn.now} for {turn.was}{apart}")
    if one.trial is not None:
        say(
            f"{one.alias}: cycle {one.trial} judges {one.now}; until it is promoted {one.was}"
            " answers, with what it learnt"
        )
    elif one.now == one.was:
        say(f"{one.alias}: {one.now} is live, and would be the same without the user")
    else:
        say(f"{one.alias}: {one.now} is live again")


def _write(config: Config, home: Path, work: Callable[[Connection], Awaitable[T]]) -> T:
    try:
        return write(config, home, work)
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
