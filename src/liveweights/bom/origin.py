"""Which card of the catalogue a base has, with all that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from liveweights.bom.facts import Origin
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.lookup import Located, locate


def find_origin(known: Catalogue, files: Mapping[str, str], names: Iterable[str]) -> Origin | None:
    """See ``locate``. None: there is no card. Raises CatalogueError."""
    return make_origin(known, locate(known, names, files))


def make_origin(known: Catalogue, located: Located | None) -> Origin | None:
    """What follows from a card. Raises CatalogueError."""
    if located is None:
        return None
    card = located.card
    return Origin(
        card=card,
        by=located.by,
        licence=known.licence(card),
        duties=known.all_duties(card),
        ancestors=tuple(known.ancestry(card)),
    )
