"""What the steps of a cycle share: where they work, and how a cycle ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.restarting import work_folder
from liveweights.cycle.settings import WorkerSettings
from liveweights.gate.questions import NotReady
from liveweights.release import canaries, deployments
from liveweights.release.history import taken_back
from liveweights.store import faults
from liveweights.store.database import Connection, Pool
from liveweights.terms.current import Terms
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry, register

T = TypeVar("T")
AWAY = (*faults.AWAY, aiohttp.ClientError, TimeoutError, NotReady)
"""What passes: the database or the service is away."""


async def finish(work: Callable[[], T]) -> T:
    """What ``work`` returns, from a thread that has ended when this has, also where it is broken
    off meanwhile: what it writes is there for those who clear up, and nothing comes after them."""
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        while not thread.done():
            with contextlib.suppress(asyncio.CancelledError):  # told once is enough
                await asyncio.wait({thread})
        raise


@dataclass(slots=True)
class Workshop:
    """Of one alias's cycles; ``url`` is the public API that the gate asks, under the service's own
    ``key``."""

    pool: Pool
    settings: WorkerSettings
    home: Path
    url: str
    key: str
    updating: asyncio.Lock
    """Held during an update: those of several models take turns, the longest waiting first."""
    terms: Terms

    @property
    def registry(self) -> Registry:
        """Where candidates are stored; signed, if there is a key."""
        key = self.settings.signing.key
        sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
        return Registry(self.home / "checkpoints", sign)

    def folder(self, cycle: Cycle) -> Path:
        """Where the update's files are."""
        return work_folder(self.home, cycle.id)

    async def register(self, conn: Connection, cycle: Cycle, candidate: Checkpoint) -> str | None:
        """Make a candidate known; why it is not tried again, if it was taken back before."""
        await register(conn, candidate)
        why = await taken_back(conn, cycle.alias, candidate.id)
        return None if why is None else f"the same weights were taken back before: {why}"

    async def end(self, cycle: Cycle, outcome: str, reason: str, **columns: Any) -> Cycle:
        """The cycle has come to this; its canary, if one runs, is nobody's then, and ends too."""
        async with self.pool.connection() as conn, conn.transaction():
            if cycle.candidate and cycle.state == "canary":
                await canaries.abort_canary(
                    conn, cycle.alias, checkpoint=cycle.candidate, cycle=cycle.id, reason=reason
                )
            ended = await ledger.advance(
                conn, cycle, "ended", outcome=outcome, reason=reason, **columns
            )
            if cycle.candidate:
                await deployments.let_go(conn, cycle.candidate)
            return ended
