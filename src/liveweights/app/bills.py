"""What bills of materials say beside the record: of the settings, the catalogue and the code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec

from liveweights import __version__
from liveweights.app.cards import find_card
from liveweights.app.profiles import CatalogueRefused, read_known
from liveweights.app.terms import find_denied
from liveweights.bom.facts import Hosted, Package, Service
from liveweights.bom.origin import make_origin
from liveweights.bom.packages import list_packages
from liveweights.bom.read import Known
from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.library import open_library
from liveweights.config import Config
from liveweights.store.database import Connection

CONTROLS: tuple[str, ...] = (
    "files of a checkpoint are checked against the hashes in its card before every load",
    "no code that comes with a model is run",
    "code that models write is run in a sandbox",
)


@cache
def _list_packages() -> tuple[Package, ...]:
    """Once: what is installed beside a running process is no part of it."""
    return list_packages()


async def know_service(conn: Connection, config: Config, home: Path) -> Known:
    """``config`` has all models of the service; those that the terms do not let be loaded today
    answer nobody, and are no part of it. Raises CatalogueError."""
    try:
        models = await asyncio.to_thread(read_known, config, home)
    except CatalogueRefused as error:
        raise CatalogueError([str(error)]) from error
    return await asyncio.to_thread(_know, config, home, await find_denied(conn, config, models))


def _know(config: Config, home: Path, denied: Iterable[str]) -> Known:
    library = open_library(home, datetime.now(UTC).date())
    catalogue = library.catalogue
    controls = list(CONTROLS)
    if config.signing.public_key:
        controls.append("only checkpoints that the service's key has signed are loaded")
    if config.api.asks_for_keys:
        controls.append("every request needs a key")
    return Known(
        catalogue=catalogue,
        bases={model.alias: model.base for model in config.list_models()},
        service=Service(
            version=__version__, controls=tuple(controls), **msgspec.structs.asdict(config.bom)
        ),
        hosted=tuple(
            Hosted(
                alias=one.alias,
                model=one.model,
                url=one.upstream,
                origin=make_origin(catalogue, find_card(library, one, config.cache_folder())),
            )
            for one in config.list_hosted()
        ),
        packages=_list_packages(),
        denied=frozenset(denied),
    )
