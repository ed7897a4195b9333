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

from liveweights import __version__
from liveweights.config import Config
from liveweights.cycle.cases import read_cases
from liveweights.cycle.evidence import Drawn, gather
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.questions import ask, served
from liveweights.cycle.replays import keep_replays, read_replays
from liveweights.gate.findings import Finding
from liveweights.gate.replay import Case, Values
from liveweights.gate.suites.battery import run_battery
from liveweights.gate.verdict import Verdict, decide
from liveweights.learn.evidence import HeldBack
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.record.window import read
from liveweights.release import deployments
from liveweights.store.database import Pool

log = logging.getLogger(__name__)
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, aiohttp.ClientError, TimeoutError)
"""What passes: the database or the service is away."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges a cycle's candidate by what both answer at ``url``, the public API, to whoever shows
    the service's own ``key``; the suites' answers are kept in ``folder``."""

    pool: Pool
    config: Config
    url: str
    cycle: Cycle
    folder: Path
    key: str = ""

    async def judge(self, rows: Sequence[HeldBack]) -> Verdict:
        """The verdict, from the learner's scores of held-back ``rows``, replay and suites."""
        cycle, config = self.cycle, self.config
        assert cycle.candidate is not None
        async with self.pool.connection() as conn:
            examples = await read(conn, cycle.id, "held_back")
            cases = await read_cases(
                conn, cycle, config.learn.held_back_share, config.cycle.replay_rows
            )
        # Both at a time: what else the machine does meanwhile, it does to both.
        candidate, incumbent = await asyncio.gather(
            self._replay(cycle.candidate, cases), self._replay(cycle.incumbent, cases)
        )
        values = Values(
            accepted=config.rewards.accepted,
            silence=config.rewards.silence,
            rejected=config.rewards.rejected,
        )
        drawn: Drawn | None = None
        if config.gate.estimator == "doubly_robust":
            now = {row.generation for row in rows}
            asked = [pair for pair in cases if pair[0].generation in now]
            drawn = Drawn(
                served={generation.id: generation.output for _, generation in asked},
                candidate=await self._ask(cycle.candidate, asked, drawn=True),
                incumbent=await self._ask(cycle.incumbent, asked, drawn=True),
            )
        evidence = gather(
            rows, [case for case, _ in cases], candidate, incumbent, values, config.gate, drawn
        )
        verdict = decide(evidence, config.gate)
        if verdict.outcome == "PASS" and config.gate.suites:
            findings = await self._ask_suites(examples)
            evidence = msgspec.structs.replace(evidence, suites=findings)
            verdict = decide(evidence, config.gate)
        return verdict

    async def _ask(
        self, checkpoint: str, cases: Sequence[tuple[Case, Generation]], *, drawn: bool = False
    ) -> dict[str, str]:
        # The incumbent has users to answer besides.
        concurrency = 4 if checkpoint == self.cycle.candidate else 2
        return await ask(
            self.url, checkpoint, cases, key=self.key, concurrency=concurrency, drawn=drawn
        )

    async def _replay(
        self, checkpoint: str, cases: Sequence[tuple[Case, Generation]]
    ) -> dict[str, str]:
        """The checkpoint's greedy answers by generation; it is asked what neither a gate nor a user
        has had it answer."""
        engine = self.config.engine
        setting = f"{__version__} {engine.kind} {engine.precision}"
        async with self.pool.connection() as conn:
            ids = [case.generation for case, _ in cases]
            known = await read_replays(conn, checkpoint, setting, ids)
        for case, generation in cases:
            if (answer := served(checkpoint, case, generation)) is not None:
                known.setdefault(case.generation, answer)
        open_ = [pair for pair in cases if pair[0].generation not in known]
        new = await self._ask(checkpoint, open_)
        async with self.pool.connection() as conn:
            await keep_replays(conn, self.cycle.id, checkpoint, setting, new)
        return known | new

    async def _ask_suites(self, examples: Sequence[Example]) -> tuple[Finding, ...]:
        cycle = self.cycle
        assert cycle.candidate is not None
        keeping = asyncio.create_task(self._keep_warm(cycle.candidate))
        try:
            return await run_battery(
                self.url,
                cycle.candidate,
                cycle.incumbent,
                self.config.gate,
                folder=self.folder / "gate",
                examples=examples,
                key=self.key,
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
