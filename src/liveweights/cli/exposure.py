"""``liveweights exposure``: whose models carry the service, and what breaks if they go away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.prices import PriceList
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
from liveweights.cli.serving import list_served
from liveweights.config import Config
from liveweights.exposure.facts import Served
from liveweights.exposure.losses import list_losses
from liveweights.exposure.options import Option
from liveweights.exposure.read import count_reactions, read_figures, read_learnt, read_traffic
from liveweights.exposure.report import Exposure, list_rules, make_exposure, to_markdown
from liveweights.exposure.without import Without, WithoutError, parse_without
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.store.database import Connection
from liveweights.terminal import clean
from liveweights.terms.book import Book
from liveweights.terms.decision import Question
from liveweights.terms.facts import facts_of
from liveweights.terms.purposes import find_purpose
from liveweights.terms.rows import read_overrides
from liveweights.terms.rules import Action

DAY = timedelta(days=1)
NEEDED: tuple[Action, ...] = ("load", "route")
"""What a substitute must be allowed to do."""


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
    known = Catalogue(home)
    served = list_served(settings, known)
    today = datetime.now(UTC).date()

    async def ask(conn: Connection) -> Exposure:
        traffic = await read_traffic(conn, window.since, window.until)
        learnt = await read_learnt(conn)
        report = make_exposure(
            served,
            traffic,
            learnt,
            await read_figures(conn, window.until),
            since=window.since.date(),
            until=(window.until - timedelta(microseconds=1)).date(),
            rules=list_rules(served, known),
        )
        if not gone:
            return report
        options = _options(settings, home, known, served)
        overrides = [one.override for one in await read_overrides(conn, today)]
        book = Book([one.model.facts for one in options], settings.terms, overrides=overrides)
        purpose = find_purpose(settings.purposes, None)

        def denied_by(name: str) -> str | None:
            for action in NEEDED:
                decision = book.decide(name, Question(action=action, day=today, purpose=purpose))
                if decision.outcome == "deny" and decision.decided_by:
                    return decision.decided_by.rule
            return None

        losses = list_losses(
            options,
            gone,
            traffic,
            days=(window.until - window.since) / DAY,
            denied_by=denied_by,
            learnt={one.alias: one for one in learnt},
            reactions=await count_reactions(conn),
        )
        told = tuple(str(one) for one in gone)
        return msgspec.structs.replace(report, without=told, losses=losses)

    return query(settings, home, ask)


def _options(settings: Config, home: Path, known: Catalogue, served: list[Served]) -> list[Option]:
    """The models of the service, then all others of the catalogue."""
    listed = _prices(home)
    hosted = {one.alias: one for one in settings.list_hosted()}
    options: list[Option] = []
    for model in served:
        prices = known.prices(model.card, listed) if model.card and model.alias in hosted else ()
        if (one := hosted.get(model.alias)) is not None:
            own = listed.find_by_address(one.upstream, one.model)
            prices = (own,) if own else prices
        options.append(Option(model=model, is_served=True, prices=prices))
    taken = {model.card.hub_id for model in served if model.card}
    for card in known.cards.values():
        if card.hub_id not in taken:
            model = Served(facts=facts_of(known, card), card=card, upstream="")
            prices = known.prices(card, listed)
            options.append(Option(model=model, is_served=False, prices=prices))
    return options


def _prices(home: Path) -> PriceList:
    from liveweights.catalog.price_library import current_prices

    try:
        return current_prices(home, datetime.now(UTC).date())
    except (OSError, ValueError) as error:
        raise refuse(str(error)) from error
