"""Steps of a cycle up to a candidate: claiming feedback, and the update that learns from it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from liveweights import __version__
from liveweights.cycle import ledger
from liveweights.cycle.bases import Switch, read_switch
from liveweights.cycle.hearing import hear
from liveweights.cycle.jobs import Start, is_own, make_job
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.lessons import Lessons
from liveweights.cycle.next_turn import read_attempt
from liveweights.cycle.scoring import score
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.trial import read_trial
from liveweights.cycle.updating import is_done, read_result, remove_job, run_learner, write_job
from liveweights.cycle.workshop import Workshop, finish
from liveweights.learn.baseline import Baseline
from liveweights.learn.job import WEIGHTS, Result
from liveweights.record.window import claim, count, leave_out, read_teachers
from liveweights.release import ancestry, deployments
from liveweights.store.database import Connection
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.registry import get, get_on_base, read_licence, register

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Learning:
    """Takes a cycle to a candidate, or to its end where nothing teaches anything."""

    shop: Workshop

    @property
    def settings(self) -> WorkerSettings:
        return self.shop.settings

    async def claim_feedback(self, cycle: Cycle) -> Cycle:
        """Claim what nobody has learnt from."""
        learn, trial, switch = self.settings.learn, read_trial(cycle), read_switch(cycle)
        terms = self.shop.terms
        await hear(self.shop.pool, self.settings, late=True)
        async with self.shop.pool.connection() as conn, terms.renewed(conn):
            onto = switch.base if switch else await ancestry.root_of(conn, cycle.incumbent)
            lessons = Lessons(terms, self.settings.model, onto)
            claimed = await claim(
                conn,
                cycle.id,
                cycle.alias,
                held_back_share=learn.held_back_share,
                max_rows=learn.max_rows if trial is None else 0,
                max_held_back=learn.max_held_back,
                teacher=self.settings.learn_from or None,
                may_learn=lessons.may_learn,
                onto=switch and switch.base,
                others=switch is not None or await ledger.has_switched(conn, cycle.alias),
            )
            if trial is not None:
                return await ledger.advance(conn, cycle, "learning")
            learning = {**(cycle.learning or {}), ledger.LEFT: claimed.left}
            if claimed.train or switch is not None:
                return await ledger.advance(conn, cycle, "learning", learning=learning)
        reason = f"no unread feedback that may be learnt from{lessons.describe()}"
        return await self.shop.end(cycle, "no_signal", reason, learning=learning)

    async def learn(self, cycle: Cycle) -> Cycle:
        """Make the candidate, or score one that was brought."""
        if read_trial(cycle) is not None:
            return await self._score(cycle)
        if (switch := read_switch(cycle)) is not None:
            return await self._relearn(cycle, switch)
        folder = self.shop.folder(cycle)
        async with self.shop.pool.connection() as conn:
            origin, base = await self._find_origin(conn, cycle)
            licence = await read_licence(conn, base.id)
        if not is_done(folder):
            async with self.shop.updating:
                await self._update(cycle, folder, await self._read_start(cycle, origin, base))
        remove_job(folder)  # of a worker that was killed
        result = read_result(folder)
        report = {**msgspec.to_builtins(result.report), ledger.LEFT: ledger.left_by(cycle)}
        async with self.shop.pool.connection() as conn:
            await leave_out(conn, cycle.id, result.left_out)
            attempt = await read_attempt(conn, self.settings, cycle.id)
        if attempt.why:
            report["attempt"] = {"step": attempt.step, "seed": attempt.seed, "why": attempt.why}
        for alarm in result.report.alarms:
            log.warning("cycle %d: %s", cycle.id, alarm)
        for note in result.report.notes:
            log.info("cycle %d: %s", cycle.id, note)
        if not result.report.taught:
            reason = f"no signal: none of {result.report.rows} rows taught anything"
            return await self.shop.end(cycle, "no_signal", reason, learning=report)
        if result.broken:
            return await self.shop.end(cycle, "rejected", result.broken, learning=report)
        checkpoint = await self._store(cycle, result, base, parent=origin.id, licence=licence)
        async with self.shop.pool.connection() as conn, conn.transaction():
            reason = await self.shop.register(conn, cycle, checkpoint)
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
            await deployments.keep_warm(conn, checkpoint.id, self.settings.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "calibrating", candidate=checkpoint.id, learning=report
            )

    async def _relearn(self, cycle: Cycle, switch: Switch) -> Cycle:
        """Learn what the alias was told, on another base; where that teaches nothing the base
        itself is tried."""
        folder = self.shop.folder(cycle)
        async with self.shop.pool.connection() as conn:
            base = await get(conn, switch.base)
            licence = await read_licence(conn, base.id)
            claimed = await count(conn, cycle.id)
        candidate, baseline, learning = base, None, dict(cycle.learning or {})
        if claimed.train:
            if not is_done(folder):
                start = Start(
                    origin=base,
                    base=base,
                    baseline=Baseline({}, {}),
                    learn=self.settings.learn,
                )
                async with self.shop.updating:
                    await self._update(cycle, folder, start)
            remove_job(folder)  # of a worker that was killed
            result = read_result(folder)
            learning |= msgspec.to_builtins(result.report)
            async with self.shop.pool.connection() as conn:
                await leave_out(conn, cycle.id, result.left_out)
            if result.broken:
                return await self.shop.end(cycle, "rejected", result.broken, learning=learning)
            if result.report.taught:
                candidate = await self._store(cycle, result, base, parent=base.id, licence=licence)
                baseline = Baseline(result.baseline_weight, result.baseline_total)
        async with self.shop.pool.connection() as conn, conn.transaction():
            if baseline is not None:
                await register(conn, candidate)
                await ledger.write_baseline(conn, cycle.id, baseline)
            await deployments.keep_warm(conn, candidate.id, self.settings.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "calibrating", candidate=candidate.id, learning=learning
            )

    async def _store(
        self, cycle: Cycle, result: Result, base: Checkpoint, *, parent: str, licence: str
    ) -> Checkpoint:
        """What an update came to, with its card."""
        card = {
            "cycle": cycle.id,
            "code": __version__,
            "licence": licence,
            "origin": self._origin(),
            "owed": await self._owed(cycle, base),
            **({"tenant": cycle.tenant} if cycle.tenant else {}),
            "learnt_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "report": msgspec.to_builtins(result.report),
        }
        return await finish(
            partial(
                self.shop.registry.store,
                self.shop.folder(cycle) / WEIGHTS,
                base.name,
                kind=result.kind,
                base=base.id,
                parent=parent,
                card=card,
            )
        )

    async def _owed(self, cycle: Cycle, base: Checkpoint) -> list[str]:
        """What licences ask of what it learnt."""
        async with self.shop.pool.connection() as conn:
            root = await ancestry.root_of(conn, base.id)
            teachers = await read_teachers(conn, cycle.id)
        if self.settings.learn_from:
            teachers.append((self.settings.learn_from, None))
        return Lessons(self.shop.terms, self.settings.model, root).owed(teachers)

    async def _score(self, cycle: Cycle) -> Cycle:
        """Score what was held back under the incumbent and a candidate that was brought."""
        assert cycle.candidate is not None
        folder = self.shop.folder(cycle)
        if not is_done(folder):
            async with self.shop.updating:
                if not await score(self.shop.pool, cycle, self.settings, folder):
                    reason = "nothing to judge it on: no feedback was ever held back"
                    return await self.shop.end(cycle, "no_signal", reason)
        remove_job(folder)  # of a worker that was killed
        result = read_result(folder)
        learning = {**(cycle.learning or {}), **msgspec.to_builtins(result.report)}
        if result.broken:
            return await self.shop.end(cycle, "rejected", result.broken, learning=learning)
        async with self.shop.pool.connection() as conn:
            await deployments.keep_warm(conn, cycle.candidate, self.settings.cycle.load_seconds * 2)
            return await ledger.advance(conn, cycle, "calibrating", learning=learning)

    def _origin(self) -> str:
        settings = self.settings
        teacher = settings.learn_from
        taught = f", and from answers of {teacher} that users took" if teacher else ""
        alone = "" if settings.tenant is None else " of one tenant alone"
        return f"learnt from feedback{alone} to {settings.model}{taught}"

    async def _find_origin(self, conn: Connection, cycle: Cycle) -> tuple[Checkpoint, Checkpoint]:
        """What the update begins with, and the weights that its adapter is on: the incumbent, but
        what others' feedback went into is no part of what is one tenant's own."""
        origin = cycle.incumbent
        if not await is_own(conn, cycle):
            origin = await ancestry.root_of(conn, origin) or origin
        return await get_on_base(conn, origin)

    async def _update(self, cycle: Cycle, folder: Path, start: Start) -> None:
        hash_folder = self.settings.cache / HASHES
        for one in {start.origin, start.base}:
            await asyncio.to_thread(signing.check, one, None, hash_folder)
        try:
            async with self.shop.pool.connection() as conn:
                job = await make_job(conn, cycle, self.settings, start)
            # Here, so that it is done or not begun when the step is broken off.
            write_job(folder, job)
            await run_learner(folder)
        finally:
            remove_job(folder)

    async def _read_start(self, cycle: Cycle, origin: Checkpoint, base: Checkpoint) -> Start:
        async with self.shop.pool.connection() as conn:
            attempt = await read_attempt(conn, self.settings, cycle.id)
            return Start(
                origin=origin,
                base=base,
                baseline=await ledger.read_baseline(conn, cycle.alias),
                learn=attempt.change(self.settings.learn),
            )
