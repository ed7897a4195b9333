"""Whose the models of a service are, by its settings and the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from liveweights.adoption.relative import Tracked
from liveweights.app.cards import find_card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.library import Library
from liveweights.catalog.lookup import Located, locate
from liveweights.config import Config
from liveweights.cycle.bases import Standing, read_bases
from liveweights.exposure.facts import HERE, Key, Served
from liveweights.exposure.read import read_standing
from liveweights.store.database import Connection
from liveweights.terms.facts import facts_of, unknown_facts
from liveweights.weights.registry import read_cards


class Models(NamedTuple):
    """Those that the service has ``now``, and ``former`` ones: an alias on a base that it does not
    stand on any more."""

    now: list[Served]
    former: list[Served]


async def read_models(
    conn: Connection, settings: Config, library: Library, keys: Iterable[Key]
) -> Models:
    """The models of the service, and of ``keys`` those that it had before, each with its card. A
    base is known by what was registered of it. Raises CatalogueError."""
    stands = await read_standing(conn)
    now = [
        replace(one, base=stands.get(one.alias)) if one.upstream == HERE else one
        for one in await asyncio.to_thread(list_served, settings, library)
    ]
    wanted = sorted({(alias, base) for alias, base in keys if base} - {one.key for one in now})
    cards = await read_cards(conn, [base for _, base in wanted])
    switched = await read_bases(conn)
    return Models(now, await asyncio.to_thread(_list_former, library, wanted, cards, switched))


def list_served(settings: Config, library: Library) -> list[Served]:
    """The models of the service, local ones first, each with its card. Raises CatalogueError."""
    cache, known = settings.cache_folder(), library.catalogue
    local = [
        _serve(
            known,
            one.alias,
            find_card(library, one, cache),
            upstream=HERE,
            hardware=settings.bom.hardware or UNKNOWN,
        )
        for one in settings.list_models()
    ]
    hosted = [
        _serve(
            known,
            one.alias,
            find_card(library, one, cache),
            upstream=urlsplit(one.upstream).hostname or "",
            hardware=UNKNOWN,
        )
        for one in settings.list_hosted()
    ]
    return [*local, *hosted]


def list_tracked(known: Catalogue) -> list[Tracked]:
    """The models of the catalogue whose day of release and size are known. Raises
    CatalogueError."""
    return [
        Tracked(card.hub_id, card.released, card.parameters_total)
        for card in known.cards.values()
        if card.released and card.parameters_total
    ]


def _list_former(
    library: Library,
    wanted: Iterable[tuple[str, str]],
    cards: Mapping[str, Mapping[str, Any]],
    switched: Mapping[str, Standing],
) -> list[Served]:
    """``wanted`` are aliases with bases; ``cards`` are those of the registry."""
    known, models = library.catalogue, list[Served]()
    for alias, base in wanted:
        card = cards.get(base, {})
        names = [str(card.get("origin") or ""), base]
        if alias in switched and base in switched[alias].models:
            names.insert(1, switched[alias].models[base])
        located = locate(known, names, card.get("files"))
        model = _serve(known, alias, located, upstream=HERE, hardware=UNKNOWN)
        models.append(replace(model, base=base))
    return models


def _serve(
    known: Catalogue, alias: str, located: Located | None, *, upstream: str, hardware: str
) -> Served:
    card = located.card if located else None
    facts = facts_of(known, card, alias) if card else unknown_facts(alias)
    return Served(facts=facts, card=card, upstream=upstream, hardware=hardware)
