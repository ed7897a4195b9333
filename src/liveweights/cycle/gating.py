"""The gate's part of a cycle: candidate and incumbent are asked, and the answers judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import psycopg

from liveweights.config import Config
from liveweights.cycle.drafting import Drafting
from liveweights.cycle.evidence import Drawn, Selections, gather
from liveweights.cycle.ledger import Cycle
from liveweights.gate.calibration import cross_fit, show
from liveweights.gate.findings import Finding
from liveweights.gate.replay import Case
from liveweights.gate.suites.battery import run_battery
from liveweights.gate.verdict import Verdict, decide
from liveweights.learn.job import HeldBack
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.record.window import read
from liveweights.release import deployments

log = logging.getLogger(__name__)
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, aiohttp.ClientError, TimeoutError)
"""What passes: the database or the service is away."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges a cycle's candidate by what both answer; the suites' answers are kept in
    ``folder``."""

    drafting: Drafting
    folder: Path

    @property
    def config(self) -> Config:
        return self.drafting.config

    @property
    def cycle(self) -> Cycle:
        return self.drafting.cycle

    async def judge(self, rows: Sequence[HeldBack]) -> Verdict:
        """The verdict, from the learner's scores of held-back ``rows``, replay and suites."""
        cycle, config, drafting = self.cycle, self.config, self.drafting
        assert cycle.candidate is not None
        async with self.drafting.pool.connection() as conn:
            examples = await read(conn, cycle.id, "held_back")
        cases = await drafting.read_cases()
        asked = await drafting.draft(cases)
        selections = Selections(
            candidate=await drafting.read_selection(cycle.candidate),
            incumbent=await drafting.read_selection(cycle.incumbent),
        )
        shown = cross_fit(
            asked, selections.incumbent, selections.candidate, drafting.values, config.learn
        )
        evidence = gather(
            rows,
            [one.case for one in asked],
            {
                one.case.generation: one.candidate.text if is_shown else ""
                for one, is_shown in zip(asked, shown, strict=True)
            },
            {
                one.case.generation: show(one.incumbent, one.case, selections.incumbent)
                for one in asked
            },
            drafting.values,
            config.gate,
            selections=selections,
            drawn=await self._draw(rows, cases),
        )
        verdict = decide(evidence, config.gate)
        if verdict.outcome == "PASS" and config.gate.suites:
            findings = await self._ask_suites(examples)
            evidence = msgspec.structs.replace(evidence, suites=findings)
            verdict = decide(evidence, config.gate)
        return verdict

    async def _draw(
        self, rows: Sequence[HeldBack], cases: Sequence[tuple[Case, Generation]]
    ) -> Drawn | None:
        """What the doubly robust estimate needs besides."""
        if self.config.gate.estimator != "doubly_robust":
            return None
        now = {row.generation for row in rows}
        asked = [pair for pair in cases if pair[0].generation in now]
        assert self.cycle.candidate is not None
        candidate = await self.drafting.ask(self.cycle.candidate, asked, drawn=True)
        incumbent = await self.drafting.ask(self.cycle.incumbent, asked, drawn=True)
        return Drawn(
            served={generation.id: generation.output for _, generation in asked},
            candidate={id: draft.text for id, draft in candidate.items()},
            incumbent={id: draft.text for id, draft in incumbent.items()},
        )

    async def _ask_suites(self, examples: Sequence[Example]) -> tuple[Finding, ...]:
        cycle = self.cycle
        assert cycle.candidate is not None
        keeping = asyncio.create_task(self._keep_warm(cycle.candidate))
        try:
            return await run_battery(
                self.drafting.url,
                cycle.candidate,
                cycle.incumbent,
                self.config.gate,
                folder=self.folder / "gate",
                examples=examples,
                key=self.drafting.key,
            )
        finally:
            keeping.cancel()

    async def _keep_warm(self, checkpoint: str) -> None:
        """For as long as suites take, which may be longer than a candidate is kept otherwise."""
        seconds = self.config.cycle.load_seconds
        while True:
            try:
                async with self.drafting.pool.connection() as conn:
                    await deployments.keep_warm(conn, checkpoint, seconds * 2)
            except AWAY as error:
                log.warning("%s could not be kept: %s", checkpoint, error)
            await asyncio.sleep(seconds / 2)
