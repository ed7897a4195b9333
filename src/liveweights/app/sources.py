"""What the console's pages about whose models these are read beside the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from liveweights.adoption.own import Week
from liveweights.adoption.relative import Tracked
from liveweights.app.adoption import read_weeks
from liveweights.app.bills import know_service
from liveweights.app.exposure import read_exposure
from liveweights.app.serving import list_tracked
from liveweights.bom.read import Known
from liveweights.catalog.catalogue import Catalogue
from liveweights.config import Config
from liveweights.console.sources import Sources
from liveweights.exposure.facts import Dimension
from liveweights.exposure.report import Exposure
from liveweights.exposure.without import Without
from liveweights.insight.window import Window
from liveweights.store.database import Connection


def make_sources(now: Callable[[], Config], home: Path) -> Sources:
    """``now`` gives the settings with the models that there are when a page is asked for."""

    async def exposure(conn: Connection, window: Window, gone: Sequence[Without]) -> Exposure:
        return await read_exposure(conn, now(), home, window, gone)

    async def weeks(conn: Connection, window: Window, by: Dimension) -> tuple[Week, ...]:
        return await read_weeks(conn, now(), home, window, by)

    async def tracked() -> list[Tracked]:
        return await asyncio.to_thread(list_tracked, Catalogue(home))

    async def known(conn: Connection) -> Known:
        return await know_service(conn, now(), home)

    return Sources(
        read_exposure=exposure, read_weeks=weeks, list_tracked=tracked, know_service=known
    )
