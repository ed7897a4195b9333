"""What a home has at hand to know models by: its catalogue and its list of prices, read once."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from liveweights.catalog.card_files import FOLDER
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.price_library import current_prices
from liveweights.catalog.prices import PriceList

Stamp = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of modification of files."""


@dataclass(frozen=True)
class Library:
    """``home`` as in Catalogue, with the prices of ``day``."""

    home: Path
    day: datetime.date

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.home)

    @cached_property
    def prices(self) -> PriceList:
        """The list, overruled by what cards say. Raises CatalogueError, OSError, and ValueError
        where the home's file is damaged. The library of the packaged list takes half a second to
        import."""
        own = [price for card in self.catalogue.cards.values() for price in card.prices]
        return current_prices(self.home, self.day).overruled(own, self.day)


def open_library(home: Path, day: datetime.date) -> Library:
    """The same one as before in this process, unless a file of the home's has changed since."""
    return _open(home, day, _stamp(home / FOLDER))


@lru_cache(maxsize=2)
def _open(home: Path, day: datetime.date, _: Stamp) -> Library:
    return Library(home, day)


def _stamp(folder: Path) -> Stamp:
    found: list[tuple[str, int, int]] = []
    for file in sorted(folder.glob("*")):
        if file.name.startswith("."):  # what editors hide, which is not read
            continue
        try:
            status = file.stat()
        except FileNotFoundError:  # since the folder was read, or it leads nowhere
            continue
        found.append((file.name, status.st_size, status.st_mtime_ns))
    return tuple(found)
