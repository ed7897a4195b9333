"""What a service stands on, read from its settings, the catalogue and its database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from liveweights.app.cards import read_prices
from liveweights.app.serving import read_models
from liveweights.catalog.library import Library, open_library
from liveweights.config import Config
from liveweights.exposure.facts import Served
from liveweights.exposure.losses import list_losses
from liveweights.exposure.options import Option
from liveweights.exposure.read import (
    count_reactions,
    read_figures,
    read_learnt,
    read_tenants,
    read_traffic,
)
from liveweights.exposure.report import Exposure, list_rules, make_exposure
from liveweights.exposure.without import Without
from liveweights.insight.window import Window, WindowError
from liveweights.store.database import Connection
from liveweights.terms.book import Book
from liveweights.terms.decision import Question
from liveweights.terms.facts import facts_of
from liveweights.terms.purposes import find_purpose
from liveweights.terms.rows import read_overrides
from liveweights.terms.rules import Action

DAY = timedelta(days=1)
NEEDED: tuple[Action, ...] = ("load", "route")
"""What a substitute must be allowed to do."""


async def read_exposure(
    conn: Connection, settings: Config, home: Path, window: Window, gone: Sequence[Without]
) -> Exposure:
    """In whole days (UTC); with what would take the place of what is imagined to be ``gone``.
    ``settings`` have all models of the service. Of a window that is not over, what has been is
    told. Raises CatalogueError, WindowError where nothing of it has been, and WithoutError for what
    no model is of."""
    now = datetime.now(UTC)
    since, until = window.since, min(window.until, now)
    if since >= until:
        raise WindowError(f"the window is still to come: it begins at {since}")
    library = open_library(home, now.date())
    traffic = await read_traffic(conn, since, until)
    served, former = await read_models(conn, settings, library, (one.key for one in traffic))
    options = await asyncio.to_thread(_options, settings, library, served) if gone else []
    for one in gone:
        models = [*(option.model for option in options), *former]
        one.check(models, library.catalogue.licences)
    learnt = await read_learnt(conn)
    report = await asyncio.to_thread(
        make_exposure,
        served,
        traffic,
        learnt,
        await read_figures(conn, until),
        since=since.date(),
        until=(until - timedelta(microseconds=1)).date(),
        tenants=await read_tenants(conn, since, until),
        rules=await asyncio.to_thread(list_rules, served, library.catalogue),
        former=former,
    )
    if not gone:
        return report
    today = now.date()
    overrides = [one.override for one in await read_overrides(conn, today)]
    book = Book([one.model.facts for one in options], settings.terms, overrides=overrides)
    losses = await asyncio.to_thread(
        list_losses,
        options,
        gone,
        traffic,
        days=(until - since) / DAY,
        denied_by=lambda name: _denied_by(book, settings, name, today),
        learnt={one.alias: one for one in learnt},
        reactions=await count_reactions(conn),
    )
    told = tuple(str(one) for one in gone)
    return msgspec.structs.replace(report, without=told, losses=losses)


def _denied_by(book: Book, settings: Config, name: str, today: date) -> str | None:
    purpose = find_purpose(settings.purposes, None)
    for action in NEEDED:
        decision = book.decide(name, Question(action=action, day=today, purpose=purpose))
        if decision.outcome == "deny" and decision.decided_by:
            return decision.decided_by.rule
    return None


def _options(settings: Config, library: Library, served: Sequence[Served]) -> list[Option]:
    """The models of the service, then all others of the catalogue."""
    known, listed = library.catalogue, read_prices(library)
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
