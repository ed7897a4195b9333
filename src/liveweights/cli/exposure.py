"""``liveweights exposure``: whose models carry the service, and what breaks if they go away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liveweights.app.exposure import read_exposure
from liveweights.catalog.card_files import CatalogueError
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    query,
    read_config,
    refuse,
    with_all_added,
)
from liveweights.cli.output import show_json
from liveweights.config import Config
from liveweights.exposure.report import Exposure, to_markdown
from liveweights.exposure.without import Without, WithoutError, parse_without
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.store.database import Connection
from liveweights.terminal import clean


def exposure(
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="What if it goes away: origin=CN, maker=X, licence=Y, upstream=HOST. Repeat."
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(help="12h, 30d, 2w ago, or a date; whole days (UTC).")
    ] = "30d",
    until: Annotated[str, typer.Option(help="As --since; before this.")] = "now",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Say which makers, countries, licences and upstreams the service depends on, which duties
    apply at its figures, and what would replace what goes away. Prints Markdown.

    Not legal advice.
    """
    settings = with_all_added(read_config(config, home), home)
    try:
        gone = [parse_without(text) for text in without or ()]
        window = make_window(since, until, "1d")
        report = _read(settings, home, window, gone)
    except (WithoutError, WindowError, CatalogueError) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(report)
    else:
        typer.echo(clean(to_markdown(report), keep="\n"), nl=False)


def _read(settings: Config, home: Path, window: Window, gone: list[Without]) -> Exposure:
    async def ask(conn: Connection) -> Exposure:
        return await read_exposure(conn, settings, home, window, gone)

    return query(settings, home, ask)
