"""Candidate and incumbent are asked, and the answers judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from liveweights.gate.calibration import cross_fit, show
from liveweights.gate.drafting import Drafting
from liveweights.gate.evidence import Drawn, Selections, gather
from liveweights.gate.findings import Measured, judge
from liveweights.gate.monitors import Monitors, watch_kinds
from liveweights.gate.scoring import Case, Values
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites import suite
from liveweights.gate.suites.battery import Asking, run_battery, run_episodes
from liveweights.gate.verdict import Evidence, Verdict, decide
from liveweights.learn.job import HeldBack
from liveweights.learn.settings import LearnSettings
from liveweights.record.generation import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How a candidate is judged. The suites' answers are kept in ``folder``. With ``episodes``
    those of whole episodes are asked, too: where there are any, and it learnt from episodes or is
    judged by some."""

    drafting: Drafting
    settings: GateSettings
    learn: LearnSettings
    values: Values
    folder: Path
    episodes: bool = False

    async def judge(
        self,
        rows: Sequence[HeldBack],
        cases: Sequence[tuple[Case, Generation]],
        *,
        chats: Sequence[tuple[Case, Generation]],
        held_back: Sequence[suite.Case],
        selections: Selections,
    ) -> Verdict:
        """The verdict, from the learner's scores of held-back ``rows``, what both answer to
        ``cases`` and how they do to ``chats``, and suites; ``held_back`` are the cases of the one
        of that name.

        Raises what `questions.ask` raises, and SuiteError.
        """
        everything = await self.drafting.draft([*cases, *chats])
        talk = {case.generation for case, _ in chats}
        asked = [one for one in everything if one.case.generation not in talk]
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
            chats=[
                (one.candidate.text, one.incumbent.text)
                for one in everything
                if one.case.generation in talk
            ],
        )
        return await self._ask_suites(evidence, held_back)

    async def _ask_suites(self, evidence: Evidence, held_back: Sequence[suite.Case]) -> Verdict:
        """The verdict with what suites say, each asked where nothing speaks against the candidate
        before: those of whole episodes first, which may be the improvement that is missing, then
        the others where all else passes."""
        drafting, settings = self.drafting, self.settings
        verdict = decide(evidence, settings)
        if verdict.outcome == "FAIL" or not (self.episodes or settings.suites):
            return verdict
        asking = Asking(
            url=drafting.url,
            candidate=drafting.candidate,
            incumbent=drafting.incumbent,
            key=drafting.key,
            folder=self.folder / "gate",
            held_back=held_back,
        )
        episodes: tuple[Measured, ...] = ()
        if self.episodes:
            episodes, left_out = await run_episodes(asking, settings)
            evidence = self._with(evidence, episodes)
            evidence = msgspec.structs.replace(
                evidence,
                left_out=left_out,
                monitors=self._watch(evidence.monitors, episodes),
            )
            verdict = decide(evidence, settings)
        if verdict.outcome == "PASS" and settings.suites:
            others = await run_battery(asking, settings, beside=len(episodes))
            verdict = decide(self._with(evidence, (*episodes, *others)), settings)
        return verdict

    def _with(self, evidence: Evidence, measured: Sequence[Measured]) -> Evidence:
        findings = judge(measured, self.settings.confidence, self.settings.power)
        return msgspec.structs.replace(evidence, suites=findings)

    def _watch(self, known: Monitors | None, episodes: Sequence[Measured]) -> Monitors | None:
        """What is known, or the habits of how episodes end, where too few prompts were held back
        that could be asked again."""
        if known is not None and known.candidate.answers >= self.settings.min_answers:
            return known
        pairs = [pair for measured in episodes for pair in measured.answers]
        return watch_kinds({"episodes": pairs}, self.settings) or known

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
