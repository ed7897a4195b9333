"""The last step of a cycle: looks at its canary, until it is promoted or taken back."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import msgspec
import psycopg

from liveweights.cycle import ledger, live
from liveweights.cycle.hearing import hear
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.workshop import Workshop
from liveweights.release import aliases
from liveweights.release.alias import Alias, StaleVersion
from liveweights.release.audience import count_audience
from liveweights.release.course import read_reason
from liveweights.store.database import Connection
from liveweights.store.faults import Fault, fault_of, note_fault

log = logging.getLogger(__name__)

HEARING = 5.0
"""Seconds after which a look judges by what was heard: the first time that a model's chats are
heard, there may be years of them, and the canary's guards do not wait for that."""


@dataclass(slots=True)
class Trying:
    """Looks at a canary."""

    shop: Workshop
    next_look: float = 0.0
    """When, on the monotonic clock, the canary is looked at again."""
    deaf: str = ""
    """Why the last look could not hear what was said next."""

    @property
    def settings(self) -> WorkerSettings:
        return self.shop.settings

    async def look(self, cycle: Cycle) -> Cycle:
        """One look; the next turn looks again."""
        assert cycle.candidate is not None
        if time.monotonic() < self.next_look:
            return cycle
        began = time.monotonic()
        async with self.shop.pool.connection() as conn:
            alias = await aliases.read(conn, cycle.alias)
            if alias.canary != cycle.candidate:
                return await self._after_canary(conn, cycle, alias)
        await self._hear()
        async with self.shop.pool.connection() as conn:
            evidence = await live.read_evidence(conn, alias, self.settings.rewards)
        judged = await asyncio.to_thread(
            live.judge, evidence, self.settings.canary, self.settings.gate
        )
        move = judged.move
        # Looking may take a tenth of the time at most, however much traffic there is.
        self.next_look = time.monotonic() + 9 * (time.monotonic() - began)
        if move.action == "wait":
            return cycle
        log.info("cycle %d: %s: %s", cycle.id, move.action, move.reason)
        async with self.shop.pool.connection() as conn:
            report = live.describe(judged.look, self.settings.canary)
            if move.action != "step":
                exposed = await count_audience(conn, cycle.alias, cycle.candidate)
                report["exposed"] = msgspec.to_builtins(exposed)
            try:
                await live.act(
                    conn, alias, move, self.settings.canary, cycle=cycle.id, evidence=report
                )
            except StaleVersion:
                return cycle  # somebody was faster: look again
            if move.action == "step":
                return cycle
            outcome = "promoted" if move.action == "promote" else "rolled_back"
            return await ledger.advance(
                conn, cycle, "ended", outcome=outcome, reason=move.reason, canary=report
            )

    async def _hear(self) -> None:
        """What was said next, if it can be heard: no canary is taken back because it cannot."""
        try:
            await hear(self.shop.pool, self.settings, late=False, within=HEARING)
        except Exception as error:
            if isinstance(error, psycopg.Error) and fault_of(error) is not Fault.REQUEST:
                raise  # the look is taken again
            if self.deaf != (why := repr(error)):
                note_fault(log, error, "the canary is judged without what users say next")
                self.deaf = why
        else:
            self.deaf = ""

    async def _after_canary(self, conn: Connection, cycle: Cycle, alias: Alias) -> Cycle:
        """Somebody promoted, aborted or rolled back by hand."""
        assert cycle.candidate is not None
        exposed = await count_audience(conn, cycle.alias, cycle.candidate)
        outcome = "promoted" if alias.live == cycle.candidate else "rolled_back"
        return await ledger.advance(
            conn,
            cycle,
            "ended",
            outcome=outcome,
            reason=await read_reason(conn, cycle.alias, cycle.candidate),
            canary={"exposed": msgspec.to_builtins(exposed)},
        )
