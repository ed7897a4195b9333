"""``liveweights adoption`` and ``insight adoption``: who is used, here and in the world."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.adoption.hub import NotCounted, fetch_snapshots
from liveweights.adoption.own import Week
from liveweights.adoption.plot import draw_weeks
from liveweights.adoption.relative import Relative, list_relative
from liveweights.adoption.rows import keep_snapshots, read_snapshots
from liveweights.adoption.snapshots import COLUMNS, SnapshotError, parse_snapshots
from liveweights.app.adoption import read_weeks
from liveweights.app.serving import list_tracked
from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.names import UnknownModel
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    change,
    query,
    read_config,
    refuse,
    with_all_added,
    write,
)
from liveweights.cli.output import say, show, show_json
from liveweights.config import Config
from liveweights.exposure.revenue import tell, tell_shares
from liveweights.insight.window import WindowError, make_window
from liveweights.store.database import Connection

HUB = "hub"
By = Literal["country", "maker", "family"]

adoption = typer.Typer(
    no_args_is_help=True,
    help="Published figures of how much open models are used, kept here day by day. What this "
    "service itself uses: `liveweights insight adoption`.",
)


def own_adoption(
    by: Annotated[By, typer.Option(help="Of each model's own card.")] = "country",
    since: Annotated[str, typer.Option(help="30d, 12w ago, or a date; whole days (UTC).")] = "12w",
    until: Annotated[str, typer.Option(help="As --since; before this.")] = "now",
    plot: Annotated[
        Path | None, typer.Option(help="Draw the shares of answers: .svg, .png or .pdf.")
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """What share of answers, tokens, revenue and learnt checkpoints models of each country, maker
    or family have, week by week."""
    settings = with_all_added(read_config(config, home), home)
    try:
        window = make_window(since, until, "1d")
        weeks = query(settings, home, lambda conn: read_weeks(conn, settings, home, window, by))
    except (WindowError, CatalogueError) as error:
        raise refuse(str(error)) from error
    if plot:
        try:
            draw_weeks(weeks, "answer_share", plot)
        except (OSError, ValueError) as error:
            raise refuse(str(error)) from error
        say(f"wrote {plot}", err=True)
    if as_json:
        show_json(weeks)
    elif plot is None:
        rows = [
            msgspec.to_builtins(one)
            | {
                "answer_share": f"{one.answer_share:.1%}",
                "token_share": f"{one.token_share:.1%}",
                "revenue": tell(one.revenue),
                "revenue_share": tell_shares(one.revenue_share),
            }
            for one in weeks
        ]
        show(rows, Week.__struct_fields__, False)


@adoption.command("import")
def import_figures(
    source: Annotated[
        str,
        typer.Argument(
            help=f"A CSV file ({', '.join(COLUMNS)}), or `{HUB}`: today's counts of Hugging Face "
            "for every card, or for --model."
        ),
    ],
    model: Annotated[
        list[str] | None, typer.Option(help=f"With `{HUB}`: only this one. Repeat.")
    ] = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Keep published counts of downloads and derivatives, each with its day and source. The same
    again replaces what that source said of that day. Those of the hub are kept as they come. Exit
    code 1: some could not be had."""
    settings = read_config(config, home)
    if source == HUB:
        _import_counts(settings, home, model)
        return
    if model:
        raise refuse("--model is for `hub`; a file has its models in its lines")
    try:
        # Spreadsheets begin a file with a byte-order mark.
        with Path(source).open(encoding="utf-8-sig", newline="") as file:
            counted = parse_snapshots(file)
    except (OSError, UnicodeDecodeError, SnapshotError) as error:
        raise refuse(f"{source}: {error}") from error

    async def keep(conn: Connection) -> tuple[int, Event]:
        count = await keep_snapshots(conn, counted)
        return count, Event("import figures", Path(source).name, {"figures": count})

    count = change(settings, home, keep) if counted else 0
    say(f"{count} figures kept")


def _import_counts(settings: Config, home: Path, model: list[str] | None) -> None:
    try:
        known = Catalogue(home)
        names = [known.find(one).hub_id for one in model] if model else list(known.cards)
    except (CatalogueError, UnknownModel) as error:
        raise refuse(str(error)) from error
    counts = fetch_snapshots(names, datetime.now(UTC).date())

    async def keep(conn: Connection) -> tuple[int, int]:
        kept = failed = 0
        while (one := await asyncio.to_thread(next, counts, None)) is not None:
            if isinstance(one, NotCounted):
                failed += 1
                say(str(one), fg="yellow", err=True)
                continue
            # A transaction each: what is told is kept, whatever comes of the others.
            if not kept:
                await note(conn, Event("import figures", HUB, {"models": model}))
            kept += await keep_snapshots(conn, [one])
            await conn.commit()
        return kept, failed

    kept, failed = write(settings, home, keep)
    say(f"{kept} figures kept")
    if failed:
        raise typer.Exit(1)


@adoption.command()
def relative(
    model: Annotated[
        str | None, typer.Argument(help="A model of the catalogue; default: all.")
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """How downloads so many days after the release compare with the median of the ten most
    downloaded of the size (the ATOM project's relative adoption metric)."""
    settings = read_config(config, home)
    try:
        known = Catalogue(home)
        wanted = known.find(model).hub_id if model else None
        tracked = list_tracked(known)
    except (CatalogueError, UnknownModel) as error:
        raise refuse(str(error)) from error

    async def ask(conn: Connection) -> tuple[Relative, ...]:
        return list_relative(tracked, await read_snapshots(conn))

    shown = [one for one in query(settings, home, ask) if wanted in (None, one.model)]
    if as_json:
        show_json(shown)
        return
    rows = [msgspec.to_builtins(one) | {"score": f"{one.score:.2f}"} for one in shown]
    show(rows, Relative.__struct_fields__, False)
