"""Which card of the catalogue a base has, with all that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from liveweights.bom.facts import Origin
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.lookup import locate


def find_origin(known: Catalogue, files: Mapping[str, str], names: Iterable[str]) -> Origin | None:
    """See ``locate``. None: there is no card. Raises CatalogueError."""
    located = locate(known, names, files)
    if located is None:
        return None
    card = located.card
    return Origin(
        card=card,
        by=located.by,
        licence=known.licence(card),
        duties=known.duties(card),
        ancestors=tuple(known.lineage(card)),
    )
