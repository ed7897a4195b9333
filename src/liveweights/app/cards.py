"""Which card of the catalogue a model of the settings has: whose it is, by all that is known."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.library import Library
from liveweights.catalog.lookup import Located, locate
from liveweights.catalog.prices import FILE, ListedPrice, PriceList
from liveweights.model_table import ModelSettings
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.weights.content import HASHES, NotPlainFile, hash_file, hash_files
from liveweights.weights.gguf_header import split_files
from liveweights.weights.tensors import BrokenFile

log = logging.getLogger(__name__)


def find_card(known: Library, model: ModelSettings | HostedSettings, cache: Path) -> Located | None:
    """Of ours by the files of its folder or GGUF, else by its base's name, which may be a folder's;
    of a hosted one by what its provider sells under that name, by the list of prices, else by its
    name at the upstream. None: there is no card. ``cache`` keeps hashes. Raises CatalogueError."""
    catalogue = known.catalogue
    if isinstance(model, ModelSettings):
        return locate(catalogue, [model.base], hash_base(model.base, cache))
    listed = find_listed(known, model)
    sold = listed and catalogue.find_sold(listed.provider, listed.model)
    return Located(sold, "name") if sold else locate(catalogue, [model.model])


def find_listed(known: Library, model: HostedSettings) -> ListedPrice | None:
    """What a hosted model's provider asks for it, by a card that says it, else by the list. Raises
    CatalogueError."""
    return read_prices(known).find_by_address(model.upstream, model.model)


def read_prices(known: Library) -> PriceList:
    """Raises CatalogueError where the list is damaged, or a card is not understood."""
    try:
        return known.prices
    except CatalogueError:
        raise
    except (OSError, ValueError) as error:
        raise CatalogueError([f"{FILE}: {error}"]) from error


def hash_base(base: str, cache: Path) -> Mapping[str, str]:
    """SHA-256 by name, of the files of a folder or GGUF; none of what is not there, or cannot be
    read, which is told where it is loaded."""
    path, hashes = Path(base).expanduser(), cache / HASHES
    try:
        if (path / "config.json").is_file():
            return hash_files(path.resolve(), hashes)
        if path.suffix == ".gguf" and path.is_file():
            return {file.name: hash_file(file, hashes) for file in split_files(path.resolve())}
    except (BrokenFile, NotPlainFile, OSError) as error:
        log.warning("by its files it is not known what %s is: %s", path, error)
    return {}
