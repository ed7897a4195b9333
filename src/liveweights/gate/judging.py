"""Candidate and incumbent are asked, and the answers judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from liveweights.gate.calibration import cross_fit, show
from liveweights.gate.drafting import Drafting
from liveweights.gate.evidence import Drawn, Selections, gather
from liveweights.gate.findings import Finding
from liveweights.gate.scoring import Case, Values
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites.battery import run_battery
from liveweights.gate.verdict import Verdict, decide
from liveweights.learn.job import HeldBack
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.record.generation import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How a candidate is judged. The suites' answers are kept in ``folder``, and while they are
    asked, which may take hours, the candidate is kept loaded by ``kept_loaded``."""

    drafting: Drafting
    settings: GateSettings
    learn: LearnSettings
    values: Values
    folder: Path
    kept_loaded: Callable[[str], AbstractAsyncContextManager[None]]

    async def judge(
        self,
        rows: Sequence[HeldBack],
        examples: Sequence[Example],
        cases: Sequence[tuple[Case, Generation]],
        selections: Selections,
    ) -> Verdict:
        """The verdict, from the learner's scores of held-back ``rows``, what both answer to
        ``cases``, and suites, one of which may be made of ``examples``.

        Raises what `questions.ask` raises, and SuiteError.
        """
        asked = await self.drafting.draft(cases)
        shown = cross_fit(
            asked, selections.incumbent, selections.candidate, values=self.values, learn=self.learn
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
            values=self.values,
            settings=self.settings,
            selections=selections,
            drawn=await self._draw(rows, cases),
        )
        verdict = decide(evidence, self.settings)
        if verdict.outcome == "PASS" and self.settings.suites:
            findings = await self._ask_suites(examples)
            evidence = msgspec.structs.replace(evidence, suites=findings)
            verdict = decide(evidence, self.settings)
        return verdict

    async def _draw(
        self, rows: Sequence[HeldBack], cases: Sequence[tuple[Case, Generation]]
    ) -> Drawn | None:
        """What the doubly robust estimate needs besides."""
        if self.settings.estimator != "doubly_robust":
            return None
        now = {row.generation for row in rows}
        asked = [pair for pair in cases if pair[0].generation in now]
        drafting = self.drafting
        candidate = await drafting.ask(drafting.candidate, asked, drawn=True)
        incumbent = await drafting.ask(drafting.incumbent, asked, drawn=True)
        return Drawn(
            served={generation.id: generation.output for _, generation in asked},
            candidate={id: draft.text for id, draft in candidate.items()},
            incumbent={id: draft.text for id, draft in incumbent.items()},
        )

    async def _ask_suites(self, examples: Sequence[Example]) -> tuple[Finding, ...]:
        drafting = self.drafting
        async with self.kept_loaded(drafting.candidate):
            return await run_battery(
                drafting.url,
                drafting.candidate,
                drafting.incumbent,
                self.settings,
                folder=self.folder / "gate",
                examples=examples,
                key=drafting.key,
            )
