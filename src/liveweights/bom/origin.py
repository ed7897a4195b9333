"""Which card of the catalogue a base has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from liveweights.bom.facts import Origin
from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.names import UnknownModel
from liveweights.weights import hub


def find_origin(known: Catalogue, files: Mapping[str, str], names: Iterable[str]) -> Origin | None:
    """By the SHA-256 of its files of weights; else by the first of ``names`` (of a model, a hub's
    address or a folder) that is a card's, which proves nothing. None: there is no card.

    Raises CatalogueError.
    """
    weights = {digest for name, digest in files.items() if name.endswith((".safetensors", ".gguf"))}
    for card in known.cards.values():
        if weights and weights <= {*card.weights}:
            return _origin(known, card, "weights")
    for name in names:
        for one in _spellings(name):
            try:
                return _origin(known, known.find(one), "name")
            except UnknownModel:
                continue
    return None


def _spellings(name: str) -> Iterable[str]:
    """What a card may be found by: the name itself, a hub's ORG/NAME, a folder's last part."""
    yield name
    if match := hub.ADDRESS.fullmatch(name):
        yield match[1]
    yield re.sub(r"@[0-9a-f]{12}$", "", Path(name).name)


def _origin(known: Catalogue, card: Card, by: Literal["weights", "name"]) -> Origin:
    return Origin(
        card=card,
        by=by,
        licence=known.licence(card),
        duties=known.duties(card),
        ancestors=tuple(known.lineage(card)),
    )
