"""The worker: starts cycles when they are due and takes each through its steps.

A step reads the cycle's state, does something that may be done twice, and commits the next
state with what it found. Killed anywhere, the next worker goes on from the committed state.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
import psycopg

from liveweights.cycle import ledger, switching
from liveweights.cycle.bases import read_switch
from liveweights.cycle.ledger import Cycle, LostLease
from liveweights.cycle.next_turn import LOOKED_AT, plan_next, read_news
from liveweights.cycle.pace import Pace
from liveweights.cycle.pauses import goes_on, read_pause
from liveweights.cycle.restarting import clear, is_clear
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.states import BROKEN_OFF, decide_start, rest_after
from liveweights.cycle.steps import Steps
from liveweights.cycle.trial import note_trial, read_trial
from liveweights.cycle.updating import LearnerFailed
from liveweights.cycle.workshop import AWAY, Workshop
from liveweights.gate.drafts import remove_drafts
from liveweights.gate.questions import NotAnswered
from liveweights.gate.suites.suite import SuiteError
from liveweights.holder import Held, Holder
from liveweights.record.clean import clean_text
from liveweights.record.refused import reason_of
from liveweights.release import aliases
from liveweights.release.retention import prune, remove_work
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import Fault, fault_of, note_fault
from liveweights.terms.current import Terms
from liveweights.weights.content import NotPlainFile
from liveweights.weights.delta import DeltaError
from liveweights.weights.registry import NotRegistered, RegistryError
from liveweights.weights.selection import BrokenSelection
from liveweights.weights.signing import SigningUnavailable
from liveweights.weights.tensors import BrokenFile

log = logging.getLogger(__name__)
FAILED = (
    *(LearnerFailed, NotAnswered, SuiteError),
    *(RegistryError, NotRegistered, SigningUnavailable),
    *(NotPlainFile, BrokenFile, BrokenSelection, DeltaError),
)
"""What ends a cycle with its reason: the update, what the gate asks, or files of weights."""

SHORT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What a machine may be out of for a while: disk, open files, memory."""
PAUSE = 10.0


@dataclass(slots=True)
class Worker:
    """Advances one alias's cycles; ``url`` is the public API that the gate asks, under the
    service's own ``key``."""

    pool: Pool
    settings: WorkerSettings
    home: Path
    url: str
    key: str = ""
    owner: str = f"worker-{os.getpid()}"
    """Who holds the lease on the cycles: a ``Holder`` as JSON, in a service."""
    updating: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during an update; shared by the workers of all models of a service."""
    terms: Terms = field(default_factory=Terms)
    """What the models' answers and checkpoints may be used for; by default anything."""
    rival: tuple[str, datetime] | None = None
    """Who else held it at the last look, and until when."""
    pace: Pace = field(default_factory=Pace)
    """Of the looks at what was said since the last cycle."""
    steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        shop = Workshop(
            self.pool,
            self.settings,
            self.home,
            self.url,
            key=self.key,
            updating=self.updating,
            terms=self.terms,
        )
        self.steps = Steps(shop)

    @property
    def alias(self) -> str:
        return self.settings.alias

    async def run(self) -> None:
        """For ever; whatever is away is waited for."""
        while True:
            try:
                await self.turn()
            except AWAY as error:
                log.warning("waiting: %s: %s", type(error).__name__, error)
            except psycopg.Error as error:
                if fault_of(error) is Fault.REQUEST:
                    raise
                log.warning("waiting: %s: %s", type(error).__name__, error)
            except LostLease as error:
                log.warning("%s", error)
            except OSError as error:
                if error.errno not in SHORT:
                    raise
                log.error("waiting: %s", error)
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(self.settings.cycle.poll)

    async def close(self) -> None:
        """Let go of the cycles, so that the next worker need not wait for the lease to run out."""
        try:
            async with self.pool.connection(timeout=2.0) as conn:
                await ledger.release_lease(conn, ledger.lease_of(self.alias), self.owner)
        except AWAY as error:
            log.warning("the lease runs out by itself: %s", error)

    async def turn(self, *, now: bool = False) -> Cycle | None:
        """Renew the lease, and take one step if there is one to take.

        ``now`` starts a cycle even if none is due; while learning is paused, none begins and none
        but a canary goes on. Returns the open or just ended cycle. Raises Held where the worker of
        another service advances the alias's cycles.
        """
        async with self.pool.connection() as conn:
            if not await self._take_lease(conn):
                return None
        async with self.pool.connection() as conn:
            cycle = await ledger.current(conn, self.alias)
            pause = await read_pause(conn, self.alias)
            if cycle is None:
                again = await self._clear(conn)
                cycle = None if pause else await self._start(conn, now, again)
        if cycle is None or not goes_on(pause, cycle.state):
            return cycle
        beat = asyncio.create_task(self._beat())
        step = asyncio.ensure_future(self.steps.take(cycle))
        broken_off: asyncio.Future[Cycle] = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(self._watch(cycle, step, broken_off))
        try:
            after = await asyncio.shield(step)
        except LostLease:
            raise
        except FAILED as error:
            return await self._fail(cycle, str(error))
        except psycopg.Error as error:
            if fault_of(error) is not Fault.REQUEST:
                raise  # the step is taken again
            # The database quotes rows in the details only.
            return await self._fail(cycle, reason_of(error))
        except AWAY:
            raise
        except OSError as error:
            if error.errno in SHORT:
                raise
            log.exception("cycle %d cannot go on with its files", cycle.id)
            return await self._fail(cycle, f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            await self._break_off(step)
            me = asyncio.current_task()
            told = me is not None and me.cancelling() > 0  # to end; else the step was, by `_watch`
            if told or not broken_off.done():
                raise
            ended = broken_off.result()
            log.info("cycle %d: %s -> ended: %s", cycle.id, cycle.state, ended.reason)
            return ended
        except Exception as error:
            # What nobody foresaw. Taken again it would fail again, and each death of the worker
            # bring the service nearer to its end.
            log.exception("cycle %d met what it does not know", cycle.id)
            return await self._fail(cycle, f"{type(error).__name__}: {error}; the log says where")
        else:
            if after.state == "ended":
                await self._tidy()
            return after
        finally:
            beat.cancel()
            watch.cancel()

    async def _fail(self, cycle: Cycle, why: str) -> Cycle:
        why = clean_text(why)  # what a program said as it ended may be no text that can be kept
        log.error("cycle %d failed while %s: %s", cycle.id, cycle.state, why)
        return await self.steps.shop.end(cycle, "failed", why)

    async def _watch(
        self, cycle: Cycle, step: asyncio.Future[Cycle], broken_off: asyncio.Future[Cycle]
    ) -> None:
        """Break the step off when others end the cycle, and say what the cycle is then."""
        while True:
            await asyncio.sleep(self.settings.cycle.poll)
            try:
                async with self.pool.connection() as conn:
                    now = await ledger.get(conn, cycle.alias, cycle.id)
            except AWAY as error:
                log.warning("cycle %d could not be looked at: %s", cycle.id, error)
                continue
            if now.outcome in BROKEN_OFF:
                broken_off.set_result(now)
                await self._break_off(step)
                return

    async def _break_off(self, step: asyncio.Future[Cycle]) -> None:
        """Cancel it until it has ended, though something in it may not hear that the first time."""
        while not step.done():
            step.cancel()
            await asyncio.wait({step}, timeout=self.settings.cycle.poll)

    async def _clear(self, conn: Connection) -> Cycle | None:
        """The last cycle, if it was restarted. Of those that were broken off nothing is left then:
        another may have begun since."""
        past = await ledger.recent(conn, self.alias, LOOKED_AT)
        for one in past:
            if one.outcome in BROKEN_OFF and not await is_clear(self.home, one):
                await clear(conn, self.home, one)
        return past[0] if past and past[0].outcome == "restarted" else None

    async def _take_lease(self, conn: Connection) -> bool:
        """One that was killed lets the lease run out, and where it can be seen that it was, is not
        waited for; one that renews it is there to stay. Raises Held."""
        lease, seconds = ledger.lease_of(self.alias), self.settings.cycle.lease
        if await ledger.take_lease(conn, lease, self.owner, seconds):
            self.rival = None
            return True
        before, self.rival = self.rival, await ledger.read_lease(conn, lease)
        if self.rival is None:
            return False
        holder, until = self.rival
        other, mine = Holder.decode(holder), Holder.decode(self.owner)
        ours = other is not None and mine is not None and other.home == mine.home
        if other is not None and ours and other.is_dead():
            return await ledger.take_lease(conn, lease, self.owner, seconds, after=holder)
        if before is None or before[0] != holder:
            log.info("the cycles of %s are %s's until %s", self.alias, other or holder, until)
        elif before[1] < until and other and mine and not ours:
            raise Held(ledger.describe_holder(self.alias, other))
        return False

    async def _beat(self) -> None:
        lease, seconds = ledger.lease_of(self.alias), self.settings.cycle.lease
        while True:
            await asyncio.sleep(seconds / 3)
            try:
                async with self.pool.connection() as conn:
                    await ledger.take_lease(conn, lease, self.owner, seconds)
            except AWAY as error:
                log.warning("the lease could not be renewed: %s", error)

    async def _tidy(self) -> None:
        """Remove what nothing needs after a cycle; not being able to is no reason to stop."""
        settings = self.settings
        try:
            async with self.pool.connection() as conn:
                await remove_work(conn, self.home, settings.retention.cycles)
                await remove_drafts(conn, self.alias)
                gone = await prune(
                    conn, self.steps.shop.registry, settings.cache, settings.retention
                )
        except Exception as error:
            note_fault(log, error, "nothing was pruned")
            return
        for one in gone:
            log.info("%s was pruned, %.1f MB", one.id, one.size / 1e6)

    async def _start(self, conn: Connection, now: bool, again: Cycle | None) -> Cycle | None:
        """Begin a cycle if one is due, or the one that was restarted ``again``."""
        try:
            return await self._begin(conn, now, again)
        except ledger.AlreadyOpen as error:
            log.info("%s", error)
            return await ledger.current(conn, self.alias)

    async def _begin(self, conn: Connection, now: bool, again: Cycle | None) -> Cycle | None:
        """Raises AlreadyOpen."""
        if again is not None and (switch := read_switch(again)) is not None:
            return await switching.begin(conn, self.settings, switch)
        if again is not None and (trial := read_trial(again)) is not None:
            live = (await aliases.read(conn, self.alias)).live
            if again.candidate not in (None, live):
                note = note_trial(trial)
                return await ledger.begin_trial(conn, self.alias, again.candidate, note)
        asked = now or again is not None
        # What is cheap first: it is asked all the time.
        if not asked and not self.pace.is_time():
            return None
        attempt = await plan_next(conn, self.settings)
        rest = rest_after(self.settings.cycle, attempt.pause)
        if not asked and await ledger.read_rest(conn, self.alias) < rest:
            return None
        with self.pace.asking():
            news = await read_news(conn, self.settings, attempt)
        start = decide_start(
            news,
            self.settings.cycle,
            pause=attempt.pause,
            wanted=attempt.wanted,
            follow_ups=attempt.follow_ups,
        )
        if not (asked or start.is_due):
            return None
        more = " or more" if news.judged >= self.settings.cycle.min_feedback else ""
        log.info("a cycle begins: %d%s answers were judged since the last", news.judged, more)
        if attempt.why:
            log.info("%s", attempt.why)
        learn = attempt.change(self.settings.learn)
        return await ledger.begin(conn, self.alias, msgspec.to_builtins(learn))
