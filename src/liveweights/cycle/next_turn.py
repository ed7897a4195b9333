"""What the next cycle of an alias goes by: the news, and how the last ones ended."""

from __future__ import annotations

from liveweights.cycle import ledger
from liveweights.cycle.attempt import Attempt, plan
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.states import News
from liveweights.store.database import Connection

LOOKED_AT = 20
"""So many of the last cycles say what the next one does otherwise."""


async def read_next(conn: Connection, settings: WorkerSettings) -> tuple[News, Attempt]:
    """What was said since the last cycle began, and what the next one does otherwise."""
    past = await ledger.recent(conn, settings.alias, LOOKED_AT)
    news = await ledger.read_news(conn, settings.alias, settings.learn_from)
    return news, plan(past, settings.learn, settings.gate)


async def read_attempt(conn: Connection, settings: WorkerSettings, cycle: int) -> Attempt:
    """What this cycle did otherwise than the settings say, by those before it."""
    past = await ledger.recent(conn, settings.alias, LOOKED_AT, before=cycle)
    return plan(past, settings.learn, settings.gate)
