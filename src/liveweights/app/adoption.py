"""What a service used of whom, read from its settings, the catalogue and its database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from liveweights.adoption.own import Week, list_weeks
from liveweights.adoption.rows import read_made
from liveweights.app.serving import read_models
from liveweights.catalog.library import open_library
from liveweights.config import Config
from liveweights.exposure.facts import Dimension
from liveweights.exposure.read import read_traffic
from liveweights.insight.window import Window
from liveweights.store.database import Connection


async def read_weeks(
    conn: Connection, settings: Config, home: Path, window: Window, by: Dimension
) -> tuple[Week, ...]:
    """In whole days (UTC). ``settings`` have all models of the service. Raises CatalogueError."""
    library = open_library(home, datetime.now(UTC).date())
    traffic = await read_traffic(conn, window.since, window.until)
    made = await read_made(conn, window.since, window.until)
    keys = [one.key for one in (*traffic, *made)]
    now, former = await read_models(conn, settings, library, keys)
    return await asyncio.to_thread(list_weeks, [*now, *former], traffic, made, by)
