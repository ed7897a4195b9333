"""The worker: starts cycles when they are due and takes each through its steps.

A step reads the cycle's state, does something that may be done twice, and commits the next
state with what it found. Killed anywhere, the next worker goes on from the committed state.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psycopg

from liveweights import __version__
from liveweights.catalog.checkpoint import Checkpoint
from liveweights.catalog.selection import read_selection
from liveweights.config import Config
from liveweights.cycle import ledger, live
from liveweights.cycle.cases import read_cases
from liveweights.cycle.evidence import Drawn, gather
from liveweights.cycle.ledger import Cycle, LostLease
from liveweights.cycle.questions import ask
from liveweights.cycle.replays import keep_replays, read_replays, remove_replays
from liveweights.cycle.states import is_due
from liveweights.gate.findings import Finding
from liveweights.gate.replay import Case, Values
from liveweights.gate.suites.battery import run_battery
from liveweights.gate.verdict import decide as judge
from liveweights.learn.baseline import Baseline
from liveweights.learn.learner import RESULT, WEIGHTS, Job, Result
from liveweights.record.followups import read_follow_ups
from liveweights.record.generation import Generation
from liveweights.record.window import Example, claim, read
from liveweights.release import aliases, deployments, signing
from liveweights.release.aliases import Alias
from liveweights.release.exposure import count_exposed
from liveweights.release.registry import Registry, get, register
from liveweights.release.retention import prune, remove_work
from liveweights.release.rollout import Move, begin, follow, locate, shares
from liveweights.release.signing import SigningUnavailable
from liveweights.release.whole import make_whole
from liveweights.store.database import Connection, Pool

log = logging.getLogger(__name__)
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, aiohttp.ClientError, TimeoutError)


LEARNER_STARTS = 3
"""How often an update that was killed (by the kernel, for memory; by a person) is started."""


class LearnerFailed(RuntimeError):
    """The update's process ended without a result; the message holds the end of its output."""


@dataclass(slots=True)
class Worker:
    """Advances one alias's cycles; ``url`` is the public API that the gate asks."""

    pool: Pool
    config: Config
    home: Path
    url: str
    owner: str = f"worker-{os.getpid()}"
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

    async def turn(self, *, now: bool = False) -> Cycle | None:
        """Renew the lease, and take one step if there is one to take.

        ``now`` starts a cycle even if none is due. Returns the open or just ended cycle.
        """
        async with self.pool.connection() as conn:
            seconds = self.config.cycle.lease
            if not await ledger.take_lease(conn, f"cycle/{self.alias}", self.owner, seconds):
                return None
        async with self.pool.connection() as conn:
            cycle = await ledger.current(conn, self.alias)
            if cycle is None:
                cycle = await self._start(conn, now)
        if cycle is None:
            return None
        beat = asyncio.create_task(self._beat())
        try:
            after = await self._step(cycle)
            if after.state == "ended":
                await self._tidy()
            return after
        except (LearnerFailed, SigningUnavailable, ValueError) as error:
            log.error("cycle %d failed while %s: %s", cycle.id, cycle.state, error)
            return await self._end(cycle, "failed", str(error))
        finally:
            beat.cancel()

    async def _beat(self) -> None:
        seconds = self.config.cycle.lease
        while True:
            await asyncio.sleep(seconds / 3)
            try:
                async with self.pool.connection() as conn:
                    await ledger.take_lease(conn, f"cycle/{self.alias}", self.owner, seconds)
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
        fresh, seconds = await ledger.news(conn, self.alias)
        if not now and not is_due(fresh, seconds, cycle.every, cycle.min_feedback):
            return None
        log.info("a cycle begins: %d rows of feedback since the last", fresh)
        return await ledger.begin(conn, self.alias, msgspec.to_builtins(self.config.learn))

    async def _step(self, cycle: Cycle) -> Cycle:
        steps: dict[str, Callable[[Cycle], Awaitable[Cycle]]] = {
            "claiming": self._claim,
            "learning": self._learn,
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
        folder = self.home / "cycles" / str(cycle.id)
        async with self.pool.connection() as conn:
            incumbent = await get(conn, cycle.incumbent)
            adapted = incumbent.base if incumbent.kind == "adapter" else None
            base = await get(conn, adapted) if adapted else incumbent
        if not (folder / RESULT).exists():
            await asyncio.to_thread(signing.check, incumbent, None)
            await self._write_job(cycle, folder, incumbent, base)
            await _run_learner(folder)
        result = _read_result(folder)
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
            await register(conn, checkpoint)
            why = await aliases.taken_back(conn, cycle.alias, checkpoint.id)
            if why is not None:
                return await ledger.advance(
                    conn,
                    cycle,
                    "ended",
                    outcome="rejected",
                    candidate=checkpoint.id,
                    learning=report,
                    reason=f"the same weights were taken back before: {why}",
                )
            await ledger.write_baseline(
                conn, cycle.id, Baseline(result.baseline_weight, result.baseline_total)
            )
            await deployments.keep_warm(conn, checkpoint.id, self.config.cycle.load_seconds * 2)
            return await ledger.advance(
                conn, cycle, "warming", candidate=checkpoint.id, learning=report
            )

    async def _write_job(
        self, cycle: Cycle, folder: Path, incumbent: Checkpoint, base: Checkpoint
    ) -> None:
        async with self.pool.connection() as conn:
            train = await read(conn, cycle.id, "train")
            held_back = await read(conn, cycle.id, "held_back")
            follow_ups = await read_follow_ups(conn, cycle.id)
            baseline = await ledger.read_baseline(conn, cycle.alias)
            whole = await make_whole(base, partial(get, conn), self.config.cache_folder())
        job = Job(
            base=str(whole.folder),
            parent=str(incumbent.folder) if incumbent.kind == "adapter" else None,
            incumbent=incumbent.id,
            train=train,
            held_back=_spread(held_back, self.config.learn.max_scored),
            follow_ups=follow_ups,
            baseline_weight=dict(baseline.weight),
            baseline_total=dict(baseline.total),
            selection=read_selection(incumbent.folder),
            rewards=self.config.rewards,
            settings=self.config.learn,
        )
        await asyncio.to_thread(_write_file, folder / "job.json", msgspec.json.encode(job))

    async def _warm(self, cycle: Cycle) -> Cycle:
        assert cycle.candidate is not None
        patience = asyncio.timeout(self.config.cycle.load_seconds)
        try:
            async with patience:
                while True:
                    async with self.pool.connection() as conn:
                        ready = await deployments.ready(conn, cycle.candidate)
                        if ready.everywhere:
                            return await ledger.advance(conn, cycle, "gating")
                    if ready.failed:
                        why = "; ".join(f"{i}: {e}" for i, e in ready.failed.items())
                        return await self._end(cycle, "rejected", f"it cannot be served: {why}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            if not patience.expired():
                raise
            reason = f"not loaded within {self.config.cycle.load_seconds:g} s"
            return await self._end(cycle, "failed", reason)

    async def _gate(self, cycle: Cycle) -> Cycle:
        assert cycle.candidate is not None
        rows = _read_result(self.home / "cycles" / str(cycle.id)).held_back
        share = self.config.learn.held_back_share
        async with self.pool.connection() as conn:
            examples = await read(conn, cycle.id, "held_back")
            cases = await read_cases(conn, cycle, share, self.config.cycle.replay_rows)
        key = next(iter(self.config.api.keys), "")
        # Both at a time: what else the machine does meanwhile, it does to both.
        candidate, incumbent = await asyncio.gather(
            self._replay(cycle, cycle.candidate, cases, key),
            self._replay(cycle, cycle.incumbent, cases, key),
        )
        rewards = self.config.rewards
        values = Values(
            accepted=rewards.accepted, silence=rewards.silence, rejected=rewards.rejected
        )
        drawn: Drawn | None = None
        if self.config.gate.estimator == "doubly_robust":
            now = {row.generation for row in rows}
            asked = [(case, served) for case, served in cases if case.generation in now]
            drawn = Drawn(
                served={served.id: served.output for _, served in asked},
                candidate=await ask(self.url, cycle.candidate, asked, key=key, drawn=True),
                incumbent=await ask(self.url, cycle.incumbent, asked, key=key, drawn=True),
            )
        evidence = gather(
            rows,
            [case for case, _ in cases],
            candidate,
            incumbent,
            values,
            self.config.gate,
            drawn,
        )
        verdict = judge(evidence, self.config.gate)
        if verdict.outcome == "PASS" and self.config.gate.suites:
            findings = await self._ask_suites(cycle, examples, key)
            evidence = msgspec.structs.replace(evidence, suites=findings)
            verdict = judge(evidence, self.config.gate)
        built = msgspec.to_builtins(verdict)
        if verdict.outcome != "PASS":
            reason = f"{verdict.outcome}: {'; '.join(verdict.reasons)}"
            return await self._end(cycle, "rejected", reason, verdict=built)
        async with self.pool.connection() as conn:
            share, shadow = shares(begin(self.config.canary), self.config.canary)
            await aliases.start_canary(
                conn,
                cycle.alias,
                cycle.candidate,
                share,
                shadow=shadow,
                cycle=cycle.id,
                reason="; ".join(verdict.reasons),
                evidence=built,
            )
            await deployments.let_go(conn, cycle.candidate)
            return await ledger.advance(conn, cycle, "canary", verdict=built)

    async def _replay(
        self, cycle: Cycle, checkpoint: str, cases: Sequence[tuple[Case, Generation]], key: str
    ) -> dict[str, str]:
        """The checkpoint's greedy answers by generation; it is asked what no gate has asked it."""
        engine = self.config.engine
        setting = f"{__version__} {engine.kind} {engine.precision}"
        async with self.pool.connection() as conn:
            ids = [case.generation for case, _ in cases]
            known = await read_replays(conn, checkpoint, setting, ids)
        open_ = [pair for pair in cases if pair[0].generation not in known]
        new = await ask(self.url, checkpoint, open_, key=key)
        async with self.pool.connection() as conn:
            await keep_replays(conn, cycle.id, checkpoint, setting, new)
        return known | new

    async def _ask_suites(
        self, cycle: Cycle, examples: Sequence[Example], key: str
    ) -> tuple[Finding, ...]:
        assert cycle.candidate is not None
        keeping = asyncio.create_task(self._keep_warm(cycle.candidate))
        try:
            return await run_battery(
                self.url,
                cycle.candidate,
                cycle.incumbent,
                self.config.gate,
                folder=self.home / "cycles" / str(cycle.id) / "gate",
                examples=examples,
                key=key,
            )
        finally:
            keeping.cancel()

    async def _keep_warm(self, checkpoint: str) -> None:
        """For as long as suites take, which may be longer than a candidate is kept otherwise."""
        seconds = self.config.cycle.load_seconds
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
            evidence = await live.read_evidence(conn, alias, self.config.rewards)
            ready = await deployments.ready(conn, cycle.candidate)
        look = await asyncio.to_thread(live.judge, evidence, self.config)
        rollout = locate(alias.share, alias.shadow, alias.held, self.config.canary)
        move = follow(rollout, look, self.config.canary)
        if ready.failed and not ready.ready and not ready.waiting:
            why = "; ".join(f"{instance}: {error}" for instance, error in ready.failed.items())
            move = Move("rollback", f"it cannot be served: {why}")
        # Looking may take a tenth of the time at most, however much traffic there is.
        self.next_look = time.monotonic() + 9 * (time.monotonic() - began)
        if move.action == "wait":
            return cycle
        log.info("cycle %d: %s: %s", cycle.id, move.action, move.reason)
        async with self.pool.connection() as conn:
            found = live.describe(look)
            if move.action != "step":
                exposed = await count_exposed(conn, cycle.alias, cycle.candidate)
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
        exposed = await count_exposed(conn, cycle.alias, cycle.candidate)
        outcome = "promoted" if alias.live == cycle.candidate else "rolled_back"
        return await ledger.advance(
            conn,
            cycle,
            "ended",
            outcome=outcome,
            reason=await live.read_reason(conn, cycle.alias, cycle.candidate),
            canary={"exposed": msgspec.to_builtins(exposed)},
        )

    async def _end(self, cycle: Cycle, outcome: str, reason: str, **found: Any) -> Cycle:
        async with self.pool.connection() as conn:
            if cycle.candidate:
                await deployments.let_go(conn, cycle.candidate)
            return await ledger.advance(
                conn, cycle, "ended", outcome=outcome, reason=reason, **found
            )


def _spread(examples: Sequence[Example], most: int) -> list[Example]:
    """At most so many, from the first to the last."""
    step = max(1, -(-len(examples) // most))
    return list(examples[::step])


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read_result(folder: Path) -> Result:
    return msgspec.json.decode((folder / RESULT).read_bytes(), type=Result)


async def _run_learner(folder: Path) -> None:
    """Start the update, and again if a signal ended it. Raises LearnerFailed."""
    for attempt in range(1, LEARNER_STARTS + 1):
        code, output = await _start_learner(folder)
        if code == 0 or (code < 0 and (folder / RESULT).exists()):
            return  # the result is written last: what ended it then came too late
        tail = "\n".join(output.splitlines()[-12:])
        if code > 0 or attempt == LEARNER_STARTS:
            tries = f" at start {attempt} of {LEARNER_STARTS}" if code < 0 else ""
            raise LearnerFailed(f"the update ended with code {code}{tries}:\n{tail}")
        log.warning("the update was killed by signal %d; starting it again: %s", -code, tail)


async def _start_learner(folder: Path) -> tuple[int, str]:
    """Exit code and output of one run. A cancelled wait ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "liveweights.learn.learner",
        str(folder / "job.json"),
        str(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")
