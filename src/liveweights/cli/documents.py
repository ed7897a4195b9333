"""``liveweights documents``: the folders that models may search."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from liveweights.access.audit import Event
from liveweights.cli.bars import case_bars
from liveweights.cli.context import HOME, Home, Json, Settings, change, query, read_config, refuse
from liveweights.cli.output import say, show, show_json
from liveweights.documents.index import (
    Folder,
    Indexed,
    OtherPlace,
    add_folder,
    list_folders,
    remove_folder,
)
from liveweights.documents.search import Passage, search
from liveweights.store.database import Connection

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SHOWN = 10
"""Files that were skipped, of which the names are told."""

documents = typer.Typer(
    no_args_is_help=True,
    help="Folders of documents that models may search: requests to /v1/responses offer them as "
    '{"type": "mcp", "server_label": "documents"}.',
)


@documents.command()
def add(
    folder: Annotated[Path, typer.Argument(help="A folder of texts: UTF-8, Markdown, HTML, code.")],
    name: Annotated[
        str, typer.Option(help="What its documents' ids begin with; default: the folder's name.")
    ] = "",
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose models may search it; may be given again. Default: as it is, of a new one "
            "everybody's."
        ),
    ] = None,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Everybody's models may search it, from now on.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Index a folder, or what has changed in it since it was added last."""
    place = folder.resolve()
    if str(place) != os.fsencode(place).decode(errors="replace"):
        raise refuse(f"the path of {place} is no UTF-8: rename it")
    name = name or re.sub(r"[^A-Za-z0-9_.-]+", "-", place.name).strip("-.")
    if not NAME.fullmatch(name):
        raise refuse(f"{name!r} cannot name a folder: use letters, digits, _ . and -; --name NAME")
    if everybody and tenant:
        raise refuse("--everybody is everybody, also without --tenant")
    tenants = [] if everybody else tenant
    bars = case_bars(hidden=as_json)

    async def do(conn: Connection) -> tuple[Indexed, Event]:
        task = bars.add_task(name)

        def each(done: int, of: int) -> None:
            bars.update(task, completed=done, total=of)

        indexed = await add_folder(conn, place, name=name, tenants=tenants, each=each)
        details = {"place": str(place), "tenants": indexed.tenants}
        return indexed, Event("add documents", name, details)

    with bars:
        try:
            indexed = change(read_config(config, home), home, do)
        except (OSError, OtherPlace) as error:
            raise refuse(str(error)) from error
    if as_json:
        show_json(indexed)
        return
    say(
        f"{name}: {indexed.new} new, {indexed.changed} changed, {indexed.same} as they were, "
        f"{indexed.gone} gone, {len(indexed.skipped)} skipped"
    )
    say(f"{name}: searched by the models of {', '.join(indexed.tenants) or 'all'}")
    for one in indexed.skipped[:SHOWN]:
        say(f"skipped {one.path}: {one.reason}", err=True)
    if len(indexed.skipped) > SHOWN:
        say(f"and {len(indexed.skipped) - SHOWN} more; --json lists them", err=True)


@documents.command(name="list")
def list_(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """Which folders there are."""
    folders = query(read_config(config, home), home, list_folders)
    if as_json:
        show_json(folders)
    else:
        show([_row(folder) for folder in folders], COLUMNS, as_json=False)


COLUMNS = ("name", "documents", "characters", "tenants", "place", "indexed_at")


def _row(folder: Folder) -> dict[str, object]:
    return {
        "name": folder.name,
        "documents": folder.documents,
        "characters": folder.characters,
        "tenants": ", ".join(folder.tenants) or "all",
        "place": folder.place,
        "indexed_at": folder.indexed_at.astimezone().strftime("%d %b %H:%M"),
    }


@documents.command()
def remove(
    name: Annotated[str, typer.Argument(help="As `liveweights documents list` shows it.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Take a folder out of the index; its files stay where they are."""

    async def do(conn: Connection) -> tuple[bool, Event | None]:
        was = await remove_folder(conn, name)
        return was, Event("remove documents", name) if was else None

    if not change(read_config(config, home), home, do):
        raise refuse(f"no folder is called {name!r}: liveweights documents list")
    say(f"{name} is removed")


@documents.command(name="search")
def search_(
    words: Annotated[str, typer.Argument(help="What to look for.")],
    tenant: Annotated[str, typer.Option(help="As whose models would find it.")] = "default",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """What models would find."""

    async def ask(conn: Connection) -> list[Passage]:
        return await search(conn, words, tenant)

    found = query(read_config(config, home), home, ask)
    if as_json:
        show_json(found)
    elif not found:
        say("nothing fits", err=True)
    for passage in () if as_json else found:
        say(f"{passage.document} from {passage.start}: {passage.title}")
        say("  " + " ".join(passage.text.split())[:300])
