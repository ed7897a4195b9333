"""Steps of a cycle that judge a candidate: when it is to say nothing, and the gate."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import msgspec

from liveweights import __version__
from liveweights.cycle import ledger, live
from liveweights.cycle.bases import read_switch
from liveweights.cycle.held_back import has_episodes, read_cases, read_chats, read_suite
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.progress import tell_asked
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.switching import passes
from liveweights.cycle.trial import read_trial
from liveweights.cycle.updating import read_result
from liveweights.cycle.workshop import AWAY, Workshop, finish
from liveweights.gate.advice import advise
from liveweights.gate.calibration import calibrate, may_say_nothing
from liveweights.gate.drafting import Drafting
from liveweights.gate.evidence import Selections
from liveweights.gate.judging import Judging
from liveweights.gate.scoring import Case, values_of
from liveweights.gate.suites import heldback, suite
from liveweights.gate.suites.battery import list_episodes
from liveweights.gate.verdict import Verdict
from liveweights.learn.job import WEIGHTS
from liveweights.record.generation import Generation
from liveweights.release import deployments
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import CARD, get
from liveweights.weights.selection import Selection, read_selection, write_selection

log = logging.getLogger(__name__)


def is_brought(cycle: Cycle) -> bool:
    """Whether the candidate says nothing when it does already, and learns no other."""
    return read_trial(cycle) is not None or read_switch(cycle) is not None


@dataclass(slots=True)
class Gating:
    """Takes a cycle from a candidate to its canary, or to its end."""

    shop: Workshop

    @property
    def settings(self) -> WorkerSettings:
        return self.shop.settings

    async def calibrate_silence(self, cycle: Cycle) -> Cycle:
        """Find out when the candidate is to say nothing, from what it would say."""
        assert cycle.candidate is not None
        drafting, cases = self._drafting(cycle), await self._read_cases(cycle)
        if is_brought(cycle) or not may_say_nothing(
            [case for case, _ in cases], self.settings.learn
        ):
            async with self.shop.pool.connection() as conn:
                return await ledger.advance(conn, cycle, "warming")
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        async with self._kept_loaded(cycle.candidate):
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
            async with self.shop.pool.connection() as conn:
                return await ledger.advance(conn, cycle, "warming", learning=learning)
        checkpoint = await finish(partial(self._store_selection, cycle, calibration.selection))
        drafts = {one.case.generation: one.candidate for one in asked}
        # One with `advance`: of a cycle that was ended meanwhile nothing is registered.
        async with self.shop.pool.connection() as conn, conn.transaction():
            reason = await self.shop.register(conn, cycle, checkpoint)
            if reason is None:
                await drafting.keep(conn, checkpoint.id, cases, drafts)
                after = await ledger.advance(
                    conn, cycle, "warming", candidate=checkpoint.id, learning=learning
                )
                await deployments.keep_warm(conn, checkpoint.id, settings.cycle.load_seconds * 2)
            else:
                after = await ledger.advance(
                    conn,
                    cycle,
                    "ended",
                    outcome="rejected",
                    reason=reason,
                    candidate=checkpoint.id,
                    learning=learning,
                )
            await deployments.let_go(conn, cycle.candidate)
            return after

    def _store_selection(self, cycle: Cycle, selection: Selection) -> Checkpoint:
        """The candidate with a selection beside its weights: another checkpoint, since it answers
        otherwise."""
        assert cycle.candidate is not None
        stored = self.shop.registry.load(cycle.candidate)
        folder = self.shop.folder(cycle) / WEIGHTS
        write_selection(folder, selection)
        return self.shop.registry.store(
            folder,
            stored.id.rpartition("@")[0],
            kind=stored.kind,
            base=stored.base,
            parent=stored.parent,
            card=msgspec.json.decode((stored.folder / CARD).read_bytes()),
        )

    async def _await_loaded(self, cycle: Cycle) -> Cycle | None:
        """Until every instance can answer with the candidate, which they are asked to hold, and in
        a tenant's branch, which may be asleep, with the incumbent; the cycle where that ended
        it."""
        assert cycle.candidate is not None
        async with self.shop.pool.connection() as conn:
            await deployments.keep_warm(conn, cycle.candidate, 2 * self.settings.cycle.load_seconds)
        asked = (cycle.candidate, *((cycle.incumbent,) if cycle.tenant else ()))
        patience = asyncio.timeout(self.settings.cycle.load_seconds)
        try:
            async with patience:
                while True:
                    async with self.shop.pool.connection() as conn:
                        found = [await deployments.ready(conn, one) for one in asked]
                    if all(ready.everywhere for ready in found):
                        return None
                    failed = {i: e for ready in found for i, e in ready.failed.items()}
                    if failed:
                        why = "; ".join(f"{i}: {e}" for i, e in failed.items())
                        return await self.shop.end(cycle, "rejected", f"it cannot be served: {why}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            if not patience.expired():
                raise
            reason = f"not loaded within {self.settings.cycle.load_seconds:g} s"
            return await self.shop.end(cycle, "failed", reason)

    async def warm(self, cycle: Cycle) -> Cycle:
        """Wait until the candidate can answer."""
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        async with self.shop.pool.connection() as conn:
            return await ledger.advance(conn, cycle, "gating")

    def _drafting(self, cycle: Cycle) -> Drafting:
        assert cycle.candidate is not None
        return Drafting(
            pool=self.shop.pool,
            url=self.shop.url,
            key=self.shop.key,
            engine=f"{__version__} {self.settings.engine.kind} {self.settings.engine.precision}",
            cycle=cycle.id,
            candidate=cycle.candidate,
            incumbent=cycle.incumbent,
            tell=tell_asked(self.shop.folder(cycle)),
        )

    async def _read_cases(self, cycle: Cycle) -> list[tuple[Case, Generation]]:
        async with self.shop.pool.connection() as conn:
            return await read_cases(conn, cycle, self.settings, silence=not is_brought(cycle))

    async def _read_suite(self, conn: Connection, cycle: Cycle, candidate: str) -> list[suite.Case]:
        settings, gate = self.settings, self.settings.gate
        if heldback.CARD.name not in (*gate.suites, *gate.episodes):
            return []
        return await read_suite(
            conn,
            cycle.alias,
            cycle.id,
            (candidate, cycle.incumbent),
            share=settings.learn.held_back_share,
            rewards=settings.rewards,
            template=settings.template,
        )

    async def _read_selection(self, checkpoint: str) -> Selection | None:
        """When a checkpoint says nothing. Raises NotRegistered, and BrokenSelection."""
        async with self.shop.pool.connection() as conn:
            return read_selection((await get(conn, checkpoint)).folder)

    async def judge(self, cycle: Cycle) -> Cycle:
        """Ask the gate; what passes begins its canary."""
        assert cycle.candidate is not None
        # It may have been a long time since it was, if this goes on from before a restart.
        if (ended := await self._await_loaded(cycle)) is not None:
            return ended
        settings, folder = self.settings, self.shop.folder(cycle)
        async with self.shop.pool.connection() as conn:
            held_back = await self._read_suite(conn, cycle, cycle.candidate)
            chats = await read_chats(conn, cycle, settings)
            asks = bool(list_episodes(settings.gate))
            episodes = asks and await has_episodes(conn, cycle)
        judging = Judging(
            drafting=self._drafting(cycle),
            settings=settings.gate,
            learn=settings.learn,
            values=values_of(settings.rewards),
            folder=folder,
            episodes=episodes,
        )
        selections = Selections(
            candidate=await self._read_selection(cycle.candidate),
            incumbent=await self._read_selection(cycle.incumbent),
        )
        switch = read_switch(cycle)
        # Of another base the log-probabilities are of other tokens: only answers compare.
        rows = read_result(folder).held_back if switch is None else []
        cases = await self._read_cases(cycle)
        async with self._kept_loaded(cycle.candidate):
            verdict = await judging.judge(
                rows, cases, chats=chats, held_back=held_back, selections=selections
            )
        built = msgspec.to_builtins(verdict)
        if not self._passes(cycle, verdict):
            help_ = "; ".join(advise(verdict.causes, settings.gate))
            reason = f"{verdict.outcome}: {'; '.join(verdict.reasons)}. What would help: {help_}"
            return await self.shop.end(cycle, "rejected", reason, verdict=built)
        if (denied := await self._deny_release(cycle)) is not None:
            return await self.shop.end(cycle, "rejected", denied, verdict=built)
        # One with `advance`: nobody sees a candidate whose cycle was ended meanwhile.
        async with self.shop.pool.connection() as conn, conn.transaction():
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
            after = await ledger.advance(conn, cycle, "canary", verdict=built)
            await deployments.let_go(conn, cycle.candidate)
            return after

    def _passes(self, cycle: Cycle, verdict: Verdict) -> bool:
        if read_switch(cycle) is not None:
            return passes(verdict)
        trial = read_trial(cycle)
        return verdict.outcome == "PASS" or (trial is not None and trial.passes(verdict))

    async def _deny_release(self, cycle: Cycle) -> str | None:
        """Why the terms do not let the candidate go live; None where they do."""
        terms, switch = self.shop.terms, read_switch(cycle)
        async with self.shop.pool.connection() as conn, terms.renewed(conn):
            asked = terms.ask("release", cycle.tenant)
            by = terms.permit(self.settings.model, asked, switch and switch.base)
        return None if by is None else f"terms do not allow a release: {by} (rule {by.rule})"

    @asynccontextmanager
    async def _kept_loaded(self, checkpoint: str) -> AsyncGenerator[None]:
        """For as long as that takes, which may be longer than a candidate is kept otherwise."""
        keeping = asyncio.create_task(self._keep_loaded(checkpoint))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})  # it is let go of next

    async def _keep_loaded(self, checkpoint: str) -> None:
        seconds = self.settings.cycle.load_seconds
        while True:
            try:
                async with self.shop.pool.connection() as conn:
                    await deployments.keep_warm(conn, checkpoint, seconds * 2)
            except AWAY as error:
                log.warning("%s could not be kept: %s", checkpoint, error)
            await asyncio.sleep(seconds / 2)
