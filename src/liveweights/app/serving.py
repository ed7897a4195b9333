"""Whose the models of a service are, by its settings and the catalogue."""

from __future__ import annotations

from urllib.parse import urlsplit

from liveweights.adoption.relative import Tracked
from liveweights.app.cards import find_card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.library import Library
from liveweights.catalog.lookup import Located
from liveweights.config import Config
from liveweights.exposure.facts import HERE, Served
from liveweights.terms.facts import facts_of, unknown_facts


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


def _serve(
    known: Catalogue, alias: str, located: Located | None, *, upstream: str, hardware: str
) -> Served:
    card = located.card if located else None
    facts = facts_of(known, card, alias) if card else unknown_facts(alias)
    return Served(facts=facts, card=card, upstream=upstream, hardware=hardware)
