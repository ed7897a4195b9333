"""Whose the models of a service are, by its settings and the catalogue."""

from __future__ import annotations

from urllib.parse import urlsplit

from liveweights.adoption.relative import Tracked
from liveweights.bom.origin import find_origin
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.config import Config
from liveweights.exposure.facts import HERE, Served
from liveweights.terms.facts import facts_of, unknown_facts


def list_served(settings: Config, known: Catalogue) -> list[Served]:
    """The models of the service, local ones first, each with the card that has its name. Raises
    CatalogueError."""
    here = settings.bom.hardware or UNKNOWN
    local = [
        _serve(known, one.alias, one.base, upstream=HERE, hardware=here)
        for one in settings.list_models()
    ]
    hosted = [
        _serve(
            known,
            one.alias,
            one.model,
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


def _serve(known: Catalogue, alias: str, name: str, *, upstream: str, hardware: str) -> Served:
    origin = find_origin(known, {}, [name])
    card = origin.card if origin else None
    facts = facts_of(known, card, alias) if card else unknown_facts(alias)
    return Served(facts=facts, card=card, upstream=upstream, hardware=hardware)
