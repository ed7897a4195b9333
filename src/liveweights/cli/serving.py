"""Whose the models of a service are, by its settings and the catalogue."""

from __future__ import annotations

from urllib.parse import urlsplit

from liveweights.bom.origin import find_origin
from liveweights.catalog.catalogue import Catalogue
from liveweights.config import Config
from liveweights.exposure.facts import HERE, Served
from liveweights.terms.facts import facts_of, unknown_facts


def list_served(settings: Config, known: Catalogue) -> list[Served]:
    """The models of the service, local ones first, each with the card that has its name. Raises
    CatalogueError."""
    named = [(model.alias, model.base, HERE) for model in settings.list_models()]
    for hosted in settings.list_hosted():
        named.append((hosted.alias, hosted.model, urlsplit(hosted.upstream).hostname or ""))
    served: list[Served] = []
    for alias, name, upstream in named:
        origin = find_origin(known, {}, [name])
        if origin is None:
            served.append(Served(facts=unknown_facts(alias), upstream=upstream))
        else:
            facts = facts_of(known, origin.card, alias)
            served.append(Served(facts=facts, card=origin.card, upstream=upstream))
    return served
