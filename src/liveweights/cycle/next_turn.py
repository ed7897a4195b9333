"""What the next cycle of an alias goes by: the news, and how the last ones ended."""

from __future__ import annotations

import msgspec

from liveweights.cycle import ledger
from liveweights.cycle.attempt import Attempt, plan
from liveweights.cycle.bases import read_switch
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.pauses import require_no_pause
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.states import News
from liveweights.cycle.trial import read_trial, recomputes
from liveweights.store.database import Connection

LOOKED_AT = 20
"""So many of the last cycles say what the next one does otherwise."""


async def read_next(conn: Connection, settings: WorkerSettings) -> tuple[News, Attempt]:
    """What was said since the last cycle began, and what the next one does otherwise."""
    attempt = await plan_next(conn, settings)
    return await read_news(conn, settings, attempt), attempt


async def plan_next(conn: Connection, settings: WorkerSettings) -> Attempt:
    """What the next cycle does otherwise."""
    return plan(await _read_past(conn, settings), settings.learn, settings.gate)


async def read_news(conn: Connection, settings: WorkerSettings, attempt: Attempt) -> News:
    """What was said since the last cycle began, counted as far as it matters to the next."""
    return await ledger.read_news(
        conn,
        settings.alias,
        settings.learn_from,
        most=settings.cycle.min_feedback,
        follow_ups=attempt.follow_ups,
    )


async def begin_now(conn: Connection, settings: WorkerSettings) -> tuple[Cycle, bool]:
    """The open cycle of an alias; one that begins now, due or not, where none is open; and whether
    it began now. Raises AliasError while learning is paused."""
    await require_no_pause(conn, settings.alias)
    cycle = await ledger.current(conn, settings.alias)
    if cycle is not None:
        return cycle, False
    attempt = await plan_next(conn, settings)
    learn = msgspec.to_builtins(attempt.change(settings.learn))
    try:
        return await ledger.begin(conn, settings.alias, learn), True
    except ledger.AlreadyOpen as error:
        return error.cycle, False


async def read_attempt(conn: Connection, settings: WorkerSettings, cycle: int) -> Attempt:
    """What this cycle did otherwise than the settings say, by those before it."""
    past = await _read_past(conn, settings, cycle)
    return plan(past, settings.learn, settings.gate)


async def _read_past(
    conn: Connection, settings: WorkerSettings, before: int | None = None
) -> list[Cycle]:
    """How weights fared that were brought, or another base, says nothing of how to learn; a cycle
    that was computed anew stands for itself, or for the one before it, whichever is part of what is
    live."""
    past = await ledger.recent(conn, settings.alias, LOOKED_AT, before=before)
    anew = {cycle.id: recomputes(cycle) for cycle in past}
    replaced = {anew[cycle.id] for cycle in past if not cycle.withdrawn}
    return [
        cycle
        for cycle in past
        if read_trial(cycle) is None
        and read_switch(cycle) is None
        and cycle.id not in replaced
        and (anew[cycle.id] is None or not cycle.withdrawn)
    ]
