"""One process of a service, as its supervisor starts it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import uvloop

from liveweights.app import restarts
from liveweights.app.place import Place
from liveweights.app.profiles import CatalogueRefused, read_known
from liveweights.app.report import Report
from liveweights.app.server import run_api, run_gateway
from liveweights.engines.protocol import EngineError
from liveweights.file_modes import close_files
from liveweights.holder import Held, Holder, read_id
from liveweights.http.server import PortTaken
from liveweights.record.spill import SpillUnreadable
from liveweights.store.database import open_pool
from liveweights.store.faults import AWAY
from liveweights.terminal import start_logging
from liveweights.weights.models import ModelNotFound

log = logging.getLogger(__name__)


async def run_worker(place: Place, report: Report) -> None:
    from liveweights.app.learners import Learners
    from liveweights.record.archive_upkeep import keep_archiving

    pool = await open_pool(place.dsn)
    record = place.config.record
    owner = Holder.me(read_id(place.home)).encode()
    known = place.known
    if known is None:
        known = await asyncio.to_thread(read_known, place.config, place.home)
    learners = Learners(pool, place, url=place.url, owner=owner, known=known)
    report.ready()
    running = [
        asyncio.create_task(work)
        for work in (
            keep_archiving(pool, record, record.archive_folder(place.home)),
            learners.run(),
        )
    ]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await learners.close()
        await pool.close()


async def _until_orphaned(work: Any) -> None:
    """Run ``work`` until it ends, SIGTERM, or the death of the parent (its end of stdin)."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            task.cancel()

    loop.add_reader(0, orphaned)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def _work(role: str, place: Place, report: Report) -> None:
    if role == "worker":
        await run_worker(place, report)
    else:
        await {"api": run_api, "gateway": run_gateway}[role](place, report)


def main(arguments: Sequence[str]) -> int:
    """``python -m liveweights.app ROLE DESCRIPTOR`` with the place as one line on standard input.

    What it tells the supervisor through the descriptor, and its exit codes, are those of
    ``report`` and ``restarts``.
    """
    close_files()
    start_logging()
    role, report = arguments[0], Report(int(arguments[1]))
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 1
        line += byte
    place = Place.decode(line.decode())
    try:
        # uvloop takes a third less CPU for passing bytes on.
        uvloop.run(_until_orphaned(_work(role, place, report)))
    except (CatalogueRefused, ModelNotFound, Held, SpillUnreadable) as error:
        return _end_with(report, error, restarts.PERMANENT)
    except AWAY as error:
        return _end_with(report, error, restarts.AWAY)
    except (EngineError, PortTaken) as error:
        return _end_with(report, error, 1)
    except Exception as error:
        report.reason(f"{type(error).__name__}: {error}")
        raise
    return 0


def _end_with(report: Report, error: Exception, code: int) -> int:
    """One sentence, where more would not help."""
    log.error("%s", error)
    report.reason(str(error))
    return code
