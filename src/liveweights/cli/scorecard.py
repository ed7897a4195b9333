"""``liveweights scorecard``: did a checkpoint improve things, for whom, at what cost?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Model,
    Settings,
    find_model,
    query,
    read_config,
    refuse,
    with_added,
)
from liveweights.cli.output import say, show_json
from liveweights.release.aliases import read
from liveweights.release.page import draw_history, to_html, to_markdown
from liveweights.release.scorecard import Scorecard, read_history, read_scorecard
from liveweights.store.database import Connection
from liveweights.terminal import clean


def scorecard(
    checkpoint: Annotated[str, typer.Argument(help="Id; default: what is live.")] = "",
    model: Model = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    page: Annotated[Path | None, typer.Option(help="Write it as an HTML page.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw all checkpoints of the alias: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Whether a checkpoint improved things, for whom, by how much, on what evidence and at what
    cost. Prints Markdown."""
    settings = with_added(read_config(config, home), model, home)
    rewards = settings.rewards_by_alias()

    async def ask(conn: Connection) -> tuple[Scorecard, list[Scorecard]]:
        id_ = checkpoint or (await read(conn, find_model(settings, model).alias)).live
        card = await read_scorecard(conn, id_, rewards)
        if page is None and plot is None:
            return card, []
        ids = await read_history(conn, card.alias or find_model(settings, model).alias)
        return card, [await read_scorecard(conn, one, rewards) for one in ids]

    card, history = query(settings, home, ask)
    try:
        if page:
            page.write_text(to_html(card, history), encoding="utf-8")
        if plot:
            draw_history(history, plot)
    except (OSError, ValueError) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(card)
    elif page is None and plot is None:
        typer.echo(clean(to_markdown(card), keep="\n"), nl=False)
    for path in (page, plot):
        if path:
            say(f"wrote {path}", err=as_json)
