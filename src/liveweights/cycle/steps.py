"""The steps of a cycle: each does something that may be done twice, and commits the next state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psycopg

from liveweights import __version__
from liveweights.cycle import ledger, live
from liveweights.cycle.bases import Switch, read_switch
from liveweights.cycle.held_back import has_episodes, read_cases
from liveweights.cycle.jobs import Start, is_own, make_job
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.lessons import Lessons
from liveweights.cycle.next_turn import read_attempt
from liveweights.cycle.progress import tell_asked
from liveweights.cycle.restarting import work_folder
from liveweights.cycle.scoring import score
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.switching import passes
from liveweights.cycle.trial import read_trial
from liveweights.cycle.updating import is_done, read_result, remove_job, run_learner, write_job
from liveweights.gate.advice import advise
from liveweights.gate.calibration import calibrate, may_say_nothing
from liveweights.gate.drafting import Drafting
from liveweights.gate.evidence import Selections
from liveweights.gate.judging import Judging
from liveweights.gate.scoring import Case, values_of
from liveweights.gate.verdict import Verdict
from liveweights.learn.baseline import Baseline
from liveweights.learn.job import WEIGHTS, Result
from liveweights.record.generation import Generation
from liveweights.record.window import claim, count, leave_out, read
from liveweights.release import aliases, deployments
from liveweights.release.alias import Alias, StaleVersion
from liveweights.release.audience import count_audience
from liveweights.release.course import read_reason
from liveweights.release.history import taken_back
from liveweights.store.database import Connection, Pool
from liveweights.terms.current import Terms
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.registry import CARD, Registry, get, get_on_base, read_licence, register
from liveweights.weights.selection import Selection, read_selection, write_selection

log = logging.getLogger(__name__)
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, aiohttp.ClientError, TimeoutError)
"""What passes: the database or the service is away."""


@dataclass(slots=True)
class Steps:
    """Takes one alias's cycles from state to state; ``url`` is the public API that the gate asks,
    under the service's own ``key``."""

    pool: Pool
    settings: WorkerSettings
    home: Path
    url: str
    key: str
    updating: asyncio.Lock
    """Held during an update: those of several models take turns, the longest waiting first."""
    terms: Terms
    next_look: float = 0.0
    """When, on the monotonic clock, the canary is looked at again."""

    @property
    def registry(self) -> Registry:
        """Where candidates are stored; signed, if there is a key."""
        key = self.settings.signing.key
        sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
        return Registry(self.home / "checkpoints", sign)

    def _folder(self, cycle: Cycle) -> Path:
        """Where the update's files are."""
        return work_folder(self.home, cycle.id)

    async def take(self, cycle: Cycle) -> Cycle:
        """Do what the cycle's state asks for; the cycle then."""
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
                return await self.end(cycle, "rejected", reason)
        after = await steps[cycle.state](cycle)
        if after.state != cycle.state:
            log.info(
                "cycle %d: %s -> %s %s", cycle.id, cycle.state, after.state, after.reason or ""
            )
        return after

    async def _claim(self, cycle: Cycle) -> Cycle:
        learn, trial, switch = self.settings.learn, read_trial(cycle), read_switch(cycle)
        async with self.pool.connection() as conn:
            await self.terms.renew(conn)
            lessons = Lessons(self.terms, self.settings.model)
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
            await self.terms.write(conn)
            if claimed.train or trial is not None or switch is not None:
                return await ledger.advance(conn, cycle, "learning")
        reason = f"no unread feedback that may be learnt from{lessons.describe()}"
        return await self.end(cycle, "no_signal", reason)

    async def _learn(self, cycle: Cycle) -> Cycle:
        if read_trial(cycle) is not None:
            return await self._score(cycle)
        if (switch := read_switch(cycle)) is not None:
            return await self._relearn(cycle, switch)
        folder = self._folder(cycle)
        async with self.pool.connection() as conn:
            origin, base = await self._find_origin(conn, cycle)
            licence = await read_licence(conn, base.id)
        if not is_done(folder):
            async with self.updating:
                await self._update(cycle, folder, await self._read_start(cycle, origin, base))
        remove_job(folder)  # of a worker that was killed
        result = read_result(folder)
        report = msgspec.to_builtins(result.report)
        async with self.pool.connection() as conn:
            attempt = await read_attempt(conn, self.settings, cycle.id)
        if attempt.why:
            report["attempt"] = {"step": attempt.step, "seed": attempt.seed, "why": attempt.why}
        for alarm in result.report.alarms:
            log.warning("cycle %d: %s", cycle.id, alarm)
        if not result.report.taught:
            reason = f"no signal: none of {result.report.rows} rows taught anything"
            return await self.end(cycle, "no_signal", reason, learning=report)
        checkpoint = await self._store(cycle, result, base, parent=origin.id, licence=licence)
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
            await deployments.keep_warm(conn, checkpoint.id, self.settings.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "calibrating", candidate=checkpoint.id, learning=report
            )

    async def _relearn(self, cycle: Cycle, switch: Switch) -> Cycle:
        """Learn what the alias was told, on another base; where that teaches nothing the base
        itself is tried."""
        folder = self._folder(cycle)
        async with self.pool.connection() as conn:
            base = await get(conn, switch.base)
            licence = await read_licence(conn, base.id)
            claimed = await count(conn, cycle.id)
        candidate, learning = base, dict(cycle.learning or {})
        if claimed.train:
            if not is_done(folder):
                start = Start(
                    origin=base,
                    base=base,
                    baseline=Baseline({}, {}),
                    learn=self.settings.learn,
                )
                async with self.updating:
                    await self._update(cycle, folder, start)
            remove_job(folder)  # of a worker that was killed
            result = read_result(folder)
            learning |= msgspec.to_builtins(result.report)
            if result.report.taught:
                candidate = await self._store(cycle, result, base, parent=base.id, licence=licence)
                async with self.pool.connection() as conn:
                    await leave_out(conn, cycle.id, result.left_out)
                    await register(conn, candidate)
                    await ledger.write_baseline(
                        conn, cycle.id, Baseline(result.baseline_weight, result.baseline_total)
                    )
        async with self.pool.connection() as conn:
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
            "owed": Lessons(self.terms, self.settings.model).owed(self.settings.learn_from),
            **({"tenant": cycle.tenant} if cycle.tenant else {}),
            "learnt_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "report": msgspec.to_builtins(result.report),
        }
        return await asyncio.to_thread(
            self.registry.store,
            self._folder(cycle) / WEIGHTS,
            base.name,
            kind=result.kind,
            base=base.id,
            parent=parent,
            card=card,
        )

    async def _score(self, cycle: Cycle) -> Cycle:
        """Score what was held back under the incumbent and a candidate that was brought."""
        assert cycle.candidate is not None
        folder = self._folder(cycle)
        if not is_done(folder):
            async with self.updating:
                if not await score(self.pool, cycle, self.settings, folder):
                    reason = "nothing to judge it on: no feedback was ever held back"
                    return await self.end(cycle, "no_signal", reason)
        remove_job(folder)  # of a worker that was killed
        report = msgspec.to_builtins(read_result(folder).report)
        async with self.pool.connection() as conn:
            await deployments.keep_warm(conn, cycle.candidate, self.settings.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "calibrating", learning={**(cycle.learning or {}), **report}
            )

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
            origin = await aliases.root_of(conn, origin) or origin
        return await get_on_base(conn, origin)

    async def _update(self, cycle: Cycle, folder: Path, start: Start) -> None:
        hash_folder = self.settings.cache / HASHES
        for one in {start.origin, start.base}:
            await asyncio.to_thread(signing.check, one, None, hash_folder)
        try:
            async with self.pool.connection() as conn:
                job = await make_job(conn, cycle, self.settings, start)
            # Here, so that it is done or not begun when the step is broken off.
            write_job(folder, job)
            await run_learner(folder)
        finally:
            remove_job(folder)

    async def _register(self, conn: Connection, cycle: Cycle, candidate: Checkpoint) -> str | None:
        """Make a candidate known; why it is not tried again, if it was taken back before."""
        await register(conn, candidate)
        why = await taken_back(conn, cycle.alias, candidate.id)
        return None if why is None else f"the same weights were taken back before: {why}"

    async def _read_start(self, cycle: Cycle, origin: Checkpoint, base: Checkpoint) -> Start:
        async with self.pool.connection() as conn:
            attempt = await read_attempt(conn, self.settings, cycle.id)
            return Start(
                origin=origin,
                base=base,
                baseline=await ledger.read_baseline(conn, cycle.alias),
                learn=attempt.change(self.settings.learn),
            )

    async def _calibrate(self, cycle: Cycle) -> Cycle:
        """Find out when the candidate is to say nothing, from what it would say."""
        assert cycle.candidate is not None
        drafting, cases = self._drafting(cycle), await self._read_cases(cycle)
        brought = read_trial(cycle) is not None or read_switch(cycle) is not None
        if brought or not may_say_nothing([case for case, _ in cases], self.settings.learn):
            async with self.pool.connection() as conn:
                return await ledger.advance(conn, cycle, "warming")
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        asked = await drafting.draft(cases)
        incumbent = await self._read_selection(cycle.incumbent)
        settings = self.settings
        calibration = await asyncio.to_thread(
            calibrate,
            asked,
            incumbent,
            values_of(settings.rewards),
            settings=settings.gate,
            learn=settings.learn,
        )
        learning = {**(cycle.learning or {}), "calibration": msgspec.to_builtins(calibration)}
        if calibration.selection is None:  # it shows everything, as it is
            async with self.pool.connection() as conn:
                return await ledger.advance(conn, cycle, "warming", learning=learning)
        checkpoint = await asyncio.to_thread(self._store_selection, cycle, calibration.selection)
        async with self.pool.connection() as conn:
            reason = await self._register(conn, cycle, checkpoint)
        if reason is not None:
            return await self.end(
                cycle, "rejected", reason, candidate=checkpoint.id, learning=learning
            )
        await drafting.keep(checkpoint.id, {one.case.generation: one.candidate for one in asked})
        async with self.pool.connection() as conn:
            await deployments.let_go(conn, cycle.candidate)
            await deployments.keep_warm(conn, checkpoint.id, settings.cycle.load_seconds * 2)
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
            kind=stored.kind,
            base=stored.base,
            parent=stored.parent,
            card=msgspec.json.decode((stored.folder / CARD).read_bytes()),
        )

    async def _await_loaded(self, cycle: Cycle) -> Cycle | None:
        """Until every instance can answer with the candidate, and in a tenant's branch, which may
        be asleep, with the incumbent; the cycle where that ended it."""
        assert cycle.candidate is not None
        asked = (cycle.candidate, *((cycle.incumbent,) if cycle.tenant else ()))
        patience = asyncio.timeout(self.settings.cycle.load_seconds)
        try:
            async with patience:
                while True:
                    async with self.pool.connection() as conn:
                        found = [await deployments.ready(conn, one) for one in asked]
                    if all(ready.everywhere for ready in found):
                        return None
                    failed = {i: e for ready in found for i, e in ready.failed.items()}
                    if failed:
                        why = "; ".join(f"{i}: {e}" for i, e in failed.items())
                        return await self.end(cycle, "rejected", f"it cannot be served: {why}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            if not patience.expired():
                raise
            reason = f"not loaded within {self.settings.cycle.load_seconds:g} s"
            return await self.end(cycle, "failed", reason)

    async def _warm(self, cycle: Cycle) -> Cycle:
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        async with self.pool.connection() as conn:
            return await ledger.advance(conn, cycle, "gating")

    def _drafting(self, cycle: Cycle) -> Drafting:
        assert cycle.candidate is not None
        return Drafting(
            pool=self.pool,
            url=self.url,
            key=self.key,
            engine=f"{__version__} {self.settings.engine.kind} {self.settings.engine.precision}",
            cycle=cycle.id,
            candidate=cycle.candidate,
            incumbent=cycle.incumbent,
            tell=tell_asked(self._folder(cycle)),
        )

    async def _read_cases(self, cycle: Cycle) -> list[tuple[Case, Generation]]:
        settings = self.settings
        async with self.pool.connection() as conn:
            return await read_cases(
                conn, cycle, settings.learn, settings.gate.cases, settings.template
            )

    async def _read_selection(self, checkpoint: str) -> Selection | None:
        """When a checkpoint says nothing. Raises NotRegistered, and BrokenSelection."""
        async with self.pool.connection() as conn:
            return read_selection((await get(conn, checkpoint)).folder)

    async def _gate(self, cycle: Cycle) -> Cycle:
        assert cycle.candidate is not None
        settings, folder = self.settings, self._folder(cycle)
        async with self.pool.connection() as conn:
            examples = await read(conn, cycle.id, "held_back")
        judging = Judging(
            drafting=self._drafting(cycle),
            settings=settings.gate,
            learn=settings.learn,
            values=values_of(settings.rewards),
            folder=folder,
            kept_loaded=self._kept_loaded,
            episodes=has_episodes(cycle, examples),
        )
        selections = Selections(
            candidate=await self._read_selection(cycle.candidate),
            incumbent=await self._read_selection(cycle.incumbent),
        )
        switch = read_switch(cycle)
        # Of another base the log-probabilities are of other tokens: only answers compare.
        rows = read_result(folder).held_back if switch is None else []
        verdict = await judging.judge(rows, examples, await self._read_cases(cycle), selections)
        built = msgspec.to_builtins(verdict)
        if not self._passes(cycle, verdict):
            help_ = "; ".join(advise(verdict.causes, settings.gate))
            reason = f"{verdict.outcome}: {'; '.join(verdict.reasons)}. What would help: {help_}"
            return await self.end(cycle, "rejected", reason, verdict=built)
        if (denied := await self._deny_release(cycle)) is not None:
            return await self.end(cycle, "rejected", denied, verdict=built)
        async with self.pool.connection() as conn:
            await live.start(
                conn,
                cycle.alias,
                cycle.candidate,
                self.settings.canary,
                cycle=cycle.id,
                reason="; ".join(verdict.reasons),
                evidence=built,
                across=switch is not None,
            )
            await deployments.let_go(conn, cycle.candidate)
            return await ledger.advance(conn, cycle, "canary", verdict=built)

    def _passes(self, cycle: Cycle, verdict: Verdict) -> bool:
        if read_switch(cycle) is not None:
            return passes(verdict)
        trial = read_trial(cycle)
        return verdict.outcome == "PASS" or (trial is not None and trial.passes(verdict))

    async def _deny_release(self, cycle: Cycle) -> str | None:
        """Why the terms do not let the candidate go live; None where they do."""
        terms = self.terms
        async with self.pool.connection() as conn:
            await terms.renew(conn)
            by = terms.permit(self.settings.model, terms.ask("release", cycle.tenant))
            await terms.write(conn)
        return None if by is None else f"terms do not allow a release: {by} (rule {by.rule})"

    @asynccontextmanager
    async def _kept_loaded(self, checkpoint: str) -> AsyncGenerator[None]:
        """For as long as that takes, which may be longer than a candidate is kept otherwise."""
        keeping = asyncio.create_task(self._keep_loaded(checkpoint))
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep_loaded(self, checkpoint: str) -> None:
        seconds = self.settings.cycle.load_seconds
        while True:
            try:
                async with self.pool.connection() as conn:
                    await deployments.keep_warm(conn, checkpoint, seconds * 2)
            except AWAY as error:
                log.warning("%s could not be kept: %s", checkpoint, error)
            await asyncio.sleep(seconds / 2)

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
        async with self.pool.connection() as conn:
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

    async def end(self, cycle: Cycle, outcome: str, reason: str, **columns: Any) -> Cycle:
        async with self.pool.connection() as conn:
            if cycle.candidate:
                await deployments.let_go(conn, cycle.candidate)
            return await ledger.advance(
                conn, cycle, "ended", outcome=outcome, reason=reason, **columns
            )
