"""The worker: starts cycles when they are due and takes each through its steps.

A step reads the cycle's state, does something that may be done twice, and commits the next
state with what it found. Killed anywhere, the next worker goes on from the committed state.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from liveweights import __version__
from liveweights.config import Config
from liveweights.cycle import ledger, live
from liveweights.cycle.cases import read_earlier
from liveweights.cycle.drafting import Drafting
from liveweights.cycle.gating import AWAY, Gate
from liveweights.cycle.ledger import Cycle, LostLease
from liveweights.cycle.replays import remove_replays
from liveweights.cycle.restarting import clear, is_clear, work_folder
from liveweights.cycle.states import is_due
from liveweights.cycle.updating import (
    LearnerFailed,
    is_done,
    read_result,
    remove_job,
    run_learner,
    write_job,
)
from liveweights.gate.calibration import calibrate, may_say_nothing
from liveweights.holder import Held, Holder
from liveweights.learn.baseline import Baseline
from liveweights.learn.job import WEIGHTS, Job, spread
from liveweights.record.followups import read_follow_ups
from liveweights.record.refused import reason_of
from liveweights.record.window import claim, leave_out, read
from liveweights.release import aliases, deployments
from liveweights.release.aliases import Alias
from liveweights.release.audience import count_audience
from liveweights.release.course import read_reason
from liveweights.release.retention import prune, remove_work
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import Fault, fault_of
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.registry import CARD, Registry, get, register
from liveweights.weights.selection import Selection, write_selection
from liveweights.weights.signing import SigningUnavailable
from liveweights.weights.whole import make_whole

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Worker:
    """Advances one alias's cycles; ``url`` is the public API that the gate asks, under the
    service's own ``key``."""

    pool: Pool
    config: Config
    home: Path
    url: str
    key: str = ""
    owner: str = f"worker-{os.getpid()}"
    """Who holds the lease on the cycles: a ``Holder`` as JSON, in a service."""
    rival: tuple[str, datetime] | None = None
    """Who else held it at the last look, and until when."""
    next_look: float = 0.0
    """When, on the monotonic clock, the canary is looked at again."""

    @property
    def alias(self) -> str:
        return self.config.alias

    @property
    def registry(self) -> Registry:
        """Where candidates are stored; signed, if there is a key."""
        key = self.config.signing.key
        sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
        return Registry(self.home / "checkpoints", sign)

    def _folder(self, cycle: Cycle) -> Path:
        """Where the update's files are."""
        return work_folder(self.home, cycle.id)

    async def run(self) -> None:
        """For ever; whatever is away is waited for."""
        while True:
            try:
                await self.turn()
            except AWAY as error:
                log.warning("waiting: %s: %s", type(error).__name__, error)
            except LostLease as error:
                log.warning("%s", error)
            await asyncio.sleep(self.config.cycle.poll)

    async def close(self) -> None:
        """Let go of the cycles, so that the next worker need not wait for the lease to run out."""
        try:
            async with self.pool.connection(timeout=2.0) as conn:
                await ledger.release_lease(conn, ledger.lease_of(self.alias), self.owner)
        except AWAY as error:
            log.warning("the lease runs out by itself: %s", error)

    async def turn(self, *, now: bool = False) -> Cycle | None:
        """Renew the lease, and take one step if there is one to take.

        ``now`` starts a cycle even if none is due. Returns the open or just ended cycle. Raises
        Held where the worker of another service advances the alias's cycles.
        """
        lease = ledger.lease_of(self.alias)
        async with self.pool.connection() as conn:
            if not await ledger.take_lease(conn, lease, self.owner, self.config.cycle.lease):
                self._make_way(await ledger.read_lease(conn, lease))
                return None
        async with self.pool.connection() as conn:
            cycle = await ledger.current(conn, self.alias)
            if cycle is None:
                again = await self._clear(conn)
                cycle = await self._start(conn, now or again)
        if cycle is None:
            return None
        beat = asyncio.create_task(self._beat())
        step = asyncio.ensure_future(self._step(cycle))
        watch = asyncio.create_task(self._watch(cycle, step))
        try:
            after = await step
            if after.state == "ended":
                await self._tidy()
            return after
        except (LearnerFailed, SigningUnavailable, ValueError, psycopg.Error) as error:
            if isinstance(error, psycopg.Error) and fault_of(error) is not Fault.REQUEST:
                raise  # the step is taken again
            # The database quotes rows in the details only.
            why = reason_of(error) if isinstance(error, psycopg.Error) else str(error)
            log.error("cycle %d failed while %s: %s", cycle.id, cycle.state, why)
            return await self._end(cycle, "failed", why)
        except asyncio.CancelledError:
            if not (watch.done() and not watch.cancelled()):
                raise
            log.info("cycle %d: %s -> ended: a user was forgotten", cycle.id, cycle.state)
            return await watch
        finally:
            beat.cancel()
            watch.cancel()

    async def _watch(self, cycle: Cycle, step: asyncio.Future[Cycle]) -> Cycle:
        """Break the step off when the cycle is restarted; the cycle then."""
        while True:
            await asyncio.sleep(self.config.cycle.poll)
            try:
                async with self.pool.connection() as conn:
                    now = await ledger.get(conn, cycle.alias, cycle.id)
            except AWAY as error:
                log.warning("cycle %d could not be looked at: %s", cycle.id, error)
                continue
            if now.outcome == "restarted":
                step.cancel()
                return now

    async def _clear(self, conn: Connection) -> bool:
        """Whether the last cycle was restarted; nothing is left of it then."""
        last = await ledger.last_restarted(conn, self.alias)
        if last is not None and not await is_clear(conn, self.home, last):
            await clear(conn, self.home, last)
        return last is not None

    def _make_way(self, holder: tuple[str, datetime] | None) -> None:
        """One that was killed lets the lease run out; one that renews it is there to stay."""
        before, self.rival = self.rival, holder
        if not (before and holder and before[0] == holder[0] and before[1] < holder[1]):
            return
        other, mine = Holder.decode(holder[0]), Holder.decode(self.owner)
        if other and mine and other.home != mine.home:
            raise Held(ledger.describe_holder(self.alias, other))

    async def _beat(self) -> None:
        lease, seconds = ledger.lease_of(self.alias), self.config.cycle.lease
        while True:
            await asyncio.sleep(seconds / 3)
            try:
                async with self.pool.connection() as conn:
                    await ledger.take_lease(conn, lease, self.owner, seconds)
            except AWAY as error:
                log.warning("the lease could not be renewed: %s", error)

    async def _tidy(self) -> None:
        """Remove what nothing needs after a cycle; not being able to is no reason to stop."""
        config = self.config
        try:
            async with self.pool.connection() as conn:
                await remove_work(conn, self.home, config.retention.cycles)
                await remove_replays(conn, self.alias)
                gone = await prune(conn, self.registry, config.cache_folder(), config.retention)
        except OSError as error:
            log.warning("nothing was pruned: %s", error)
            return
        for one in gone:
            log.info("%s was pruned, %.1f MB", one.id, one.size / 1e6)

    async def _start(self, conn: Connection, now: bool) -> Cycle | None:
        cycle = self.config.cycle
        news = await ledger.read_news(conn, self.alias)
        if not now and not is_due(news, cycle):
            return None
        log.info("a cycle begins: %d answers were judged since the last", news.judged)
        return await ledger.begin(conn, self.alias, msgspec.to_builtins(self.config.learn))

    async def _step(self, cycle: Cycle) -> Cycle:
        steps: dict[str, Callable[[Cycle], Awaitable[Cycle]]] = {
            "claiming": self._claim,
            "learning": self._learn,
            "calibrating": self._calibrate,
            "warming": self._warm,
            "gating": self._gate,
            "canary": self._canary,
        }
        if cycle.state != "canary":
            async with self.pool.connection() as conn:
                alias = await aliases.read(conn, cycle.alias)
            if alias.live != cycle.incumbent:
                reason = f"{alias.live} is live now, not {cycle.incumbent}, from which it learns"
                return await self._end(cycle, "rejected", reason)
        after = await steps[cycle.state](cycle)
        if after.state != cycle.state:
            log.info(
                "cycle %d: %s -> %s %s", cycle.id, cycle.state, after.state, after.reason or ""
            )
        return after

    async def _claim(self, cycle: Cycle) -> Cycle:
        learn = self.config.learn
        async with self.pool.connection() as conn:
            found = await claim(
                conn,
                cycle.id,
                cycle.alias,
                held_back_share=learn.held_back_share,
                max_rows=learn.max_rows,
                max_held_back=learn.max_held_back,
            )
            if found.train:
                return await ledger.advance(conn, cycle, "learning")
        return await self._end(cycle, "no_signal", "no unread feedback that may be learnt from")

    async def _learn(self, cycle: Cycle) -> Cycle:
        folder = self._folder(cycle)
        async with self.pool.connection() as conn:
            incumbent = await get(conn, cycle.incumbent)
            adapted = incumbent.base if incumbent.kind == "adapter" else None
            base = await get(conn, adapted) if adapted else incumbent
        if not is_done(folder):
            known = self.config.cache_folder() / HASHES
            for one in {incumbent, base}:
                await asyncio.to_thread(signing.check, one, None, known)
            try:
                await self._write_job(cycle, folder, incumbent, base)
                await run_learner(folder)
            finally:
                remove_job(folder)
        remove_job(folder)  # of a worker that was killed
        result = read_result(folder)
        report = msgspec.to_builtins(result.report)
        for alarm in result.report.alarms:
            log.warning("cycle %d: %s", cycle.id, alarm)
        if not result.report.taught:
            reason = f"no signal: none of {result.report.rows} rows taught anything"
            return await self._end(cycle, "no_signal", reason, learning=report)
        card = {
            "cycle": cycle.id,
            "code": __version__,
            "licence": "that of the base",
            "origin": f"learnt from feedback to {cycle.alias}",
            "learnt_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "report": report,
        }
        checkpoint = await asyncio.to_thread(
            self.registry.store,
            folder / WEIGHTS,
            base.name,
            result.kind,
            base.id,
            incumbent.id,
            card,
        )
        async with self.pool.connection() as conn:
            await leave_out(conn, cycle.id, result.left_out)
            reason = await self._register(conn, cycle, checkpoint)
            if reason is not None:
                return await ledger.advance(
                    conn,
                    cycle,
                    "ended",
                    outcome="rejected",
                    candidate=checkpoint.id,
                    learning=report,
                    reason=reason,
                )
            await ledger.write_baseline(
                conn, cycle.id, Baseline(result.baseline_weight, result.baseline_total)
            )
            await deployments.keep_warm(conn, checkpoint.id, self.config.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "calibrating", candidate=checkpoint.id, learning=report
            )

    async def _register(self, conn: Connection, cycle: Cycle, candidate: Checkpoint) -> str | None:
        """Make a candidate known; why it is not tried again, if it was taken back before."""
        await register(conn, candidate)
        why = await aliases.taken_back(conn, cycle.alias, candidate.id)
        return None if why is None else f"the same weights were taken back before: {why}"

    async def _write_job(
        self, cycle: Cycle, folder: Path, incumbent: Checkpoint, base: Checkpoint
    ) -> None:
        async with self.pool.connection() as conn:
            train = await read(conn, cycle.id, "train")
            held_back = await read(conn, cycle.id, "held_back")
            follow_ups = await read_follow_ups(conn, cycle.id)
            earlier = await read_earlier(conn, cycle, self.config.learn)
            baseline = await ledger.read_baseline(conn, cycle.alias)
            whole = await make_whole(base, partial(get, conn), self.config.cache_folder())
        job = Job(
            base=str(whole.folder),
            parent=str(incumbent.folder) if incumbent.kind == "adapter" else None,
            incumbent=incumbent.id,
            train=train,
            held_back=spread(held_back, self.config.learn.max_scored),
            follow_ups=follow_ups,
            earlier=earlier,
            baseline_weight=dict(baseline.weight),
            baseline_total=dict(baseline.total),
            rewards=self.config.rewards,
            settings=self.config.learn,
            template=self.config.template,
            ways=str(self.config.cache_folder() / "ways"),
        )
        write_job(folder, job)  # here, so that it is done or not begun when the step is broken off

    async def _calibrate(self, cycle: Cycle) -> Cycle:
        """Find out when the candidate is to say nothing, from what it would say."""
        assert cycle.candidate is not None
        drafting = self._drafting(cycle)
        cases = await drafting.read_cases()
        if not may_say_nothing([case for case, _ in cases], self.config.learn):
            async with self.pool.connection() as conn:
                return await ledger.advance(conn, cycle, "warming")
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        asked = await drafting.draft(cases)
        incumbent = await drafting.read_selection(cycle.incumbent)
        config = self.config
        found = await asyncio.to_thread(
            calibrate, asked, incumbent, drafting.values, config.gate, config.learn
        )
        learning = {**(cycle.learning or {}), "calibration": msgspec.to_builtins(found)}
        if found.selection is None:  # it shows everything, as it is
            async with self.pool.connection() as conn:
                return await ledger.advance(conn, cycle, "warming", learning=learning)
        checkpoint = await asyncio.to_thread(self._store_selection, cycle, found.selection)
        async with self.pool.connection() as conn:
            reason = await self._register(conn, cycle, checkpoint)
        if reason is not None:
            return await self._end(
                cycle, "rejected", reason, candidate=checkpoint.id, learning=learning
            )
        await drafting.keep(checkpoint.id, {one.case.generation: one.candidate for one in asked})
        async with self.pool.connection() as conn:
            await deployments.let_go(conn, cycle.candidate)
            await deployments.keep_warm(conn, checkpoint.id, config.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "warming", candidate=checkpoint.id, learning=learning
            )

    def _store_selection(self, cycle: Cycle, selection: Selection) -> Checkpoint:
        """The candidate with a selection beside its weights: another checkpoint, since it answers
        otherwise."""
        assert cycle.candidate is not None
        stored = self.registry.load(cycle.candidate)
        folder = self._folder(cycle) / WEIGHTS
        write_selection(folder, selection)
        return self.registry.store(
            folder,
            stored.id.rpartition("@")[0],
            stored.kind,
            stored.base,
            stored.parent,
            msgspec.json.decode((stored.folder / CARD).read_bytes()),
        )

    async def _await_loaded(self, cycle: Cycle) -> Cycle | None:
        """Until every instance can answer with the candidate; the cycle where that ended it."""
        assert cycle.candidate is not None
        patience = asyncio.timeout(self.config.cycle.load_seconds)
        try:
            async with patience:
                while True:
                    async with self.pool.connection() as conn:
                        ready = await deployments.ready(conn, cycle.candidate)
                    if ready.everywhere:
                        return None
                    if ready.failed:
                        why = "; ".join(f"{i}: {e}" for i, e in ready.failed.items())
                        return await self._end(cycle, "rejected", f"it cannot be served: {why}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            if not patience.expired():
                raise
            reason = f"not loaded within {self.config.cycle.load_seconds:g} s"
            return await self._end(cycle, "failed", reason)

    async def _warm(self, cycle: Cycle) -> Cycle:
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        async with self.pool.connection() as conn:
            return await ledger.advance(conn, cycle, "gating")

    def _drafting(self, cycle: Cycle) -> Drafting:
        return Drafting(self.pool, self.config, self.url, cycle, self.key)

    async def _gate(self, cycle: Cycle) -> Cycle:
        assert cycle.candidate is not None
        folder = self._folder(cycle)
        gate = Gate(self._drafting(cycle), folder)
        verdict = await gate.judge(read_result(folder).held_back)
        built = msgspec.to_builtins(verdict)
        if verdict.outcome != "PASS":
            reason = f"{verdict.outcome}: {'; '.join(verdict.reasons)}"
            return await self._end(cycle, "rejected", reason, verdict=built)
        async with self.pool.connection() as conn:
            await live.start(
                conn,
                cycle.alias,
                cycle.candidate,
                self.config.canary,
                cycle=cycle.id,
                reason="; ".join(verdict.reasons),
                evidence=built,
            )
            await deployments.let_go(conn, cycle.candidate)
            return await ledger.advance(conn, cycle, "canary", verdict=built)

    async def _canary(self, cycle: Cycle) -> Cycle:
        """One look; the next turn looks again."""
        assert cycle.candidate is not None
        if time.monotonic() < self.next_look:
            return cycle
        began = time.monotonic()
        async with self.pool.connection() as conn:
            alias = await aliases.read(conn, cycle.alias)
            if alias.canary != cycle.candidate:
                return await self._after_canary(conn, cycle, alias)
            evidence = await live.read_evidence(conn, alias, self.config.rewards)
        judged = await asyncio.to_thread(live.judge, evidence, self.config)
        move = judged.move
        # Looking may take a tenth of the time at most, however much traffic there is.
        self.next_look = time.monotonic() + 9 * (time.monotonic() - began)
        if move.action == "wait":
            return cycle
        log.info("cycle %d: %s: %s", cycle.id, move.action, move.reason)
        async with self.pool.connection() as conn:
            found = live.describe(judged.look, self.config.canary)
            if move.action != "step":
                exposed = await count_audience(conn, cycle.alias, cycle.candidate)
                found["exposed"] = msgspec.to_builtins(exposed)
            try:
                await live.act(
                    conn, alias, move, self.config.canary, cycle=cycle.id, evidence=found
                )
            except aliases.StaleVersion:
                return cycle  # somebody was faster: look again
            if move.action == "step":
                return cycle
            outcome = "promoted" if move.action == "promote" else "rolled_back"
            return await ledger.advance(
                conn, cycle, "ended", outcome=outcome, reason=move.reason, canary=found
            )

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

    async def _end(self, cycle: Cycle, outcome: str, reason: str, **found: Any) -> Cycle:
        async with self.pool.connection() as conn:
            if cycle.candidate:
                await deployments.let_go(conn, cycle.candidate)
            return await ledger.advance(
                conn, cycle, "ended", outcome=outcome, reason=reason, **found
            )
