"""Which card of the catalogue a model has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.names import UnknownModel
from liveweights.weights import hub

WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True, slots=True)
class Located:
    """``by``: its files of weights are those that the card lists, or only a name is the card's,
    which proves nothing."""

    card: Card
    by: Literal["weights", "name"]


def locate(
    known: Catalogue, names: Iterable[str], files: Mapping[str, str] | None = None
) -> Located | None:
    """By the SHA-256 of its ``files`` of weights, by name; else by the first of ``names`` (of a
    model, a hub's address, a folder or a checkpoint) that is a card's. None: there is no card.

    Raises CatalogueError.
    """
    weights = digests(files or {})
    for card in known.cards.values() if weights else ():
        if weights <= {*card.weights}:
            return Located(card, "weights")
    for name in names:
        for one in _spellings(name):
            try:
                return Located(known.find(one), "name")
            except UnknownModel:
                continue
    return None


def digests(files: Mapping[str, str]) -> set[str]:
    """Of the files of weights among them."""
    return {digest for name, digest in files.items() if name.endswith(WEIGHTS)}


def _spellings(name: str) -> Iterable[str]:
    """What a card may be found by: the name itself, a hub's ORG/NAME, a folder's last part."""
    yield name
    if match := hub.ADDRESS.fullmatch(name):
        yield match[1]
    yield re.sub(r"@[0-9a-f]{12}$", "", Path(name).name)
