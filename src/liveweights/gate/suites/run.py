"""Candidate and incumbent answer the same cases with the same seeds, in turn."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from liveweights.gate.findings import Aim, Measured, is_harmed
from liveweights.gate.suites.clock import Clock, running
from liveweights.gate.suites.journal import Journal, Pair
from liveweights.gate.suites.model import Refused
from liveweights.gate.suites.suite import (
    Attempt,
    Case,
    Model,
    NothingMeasured,
    Suite,
    SuiteError,
)

Progress = Callable[[int, int], None]
CHECK = 5
"""Cases between looks at whether harm is plain already."""
REFUSED = "refused: "


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first case is asked.

    ``margin`` None takes the card's, ``cases`` 0 all of them. ``stop_at`` is the chance of
    stopping early for harm that is not there; 0 always asks every case. With ``seconds`` only what
    both have answered by then counts, of cases that are asked in an order of chance.
    """

    seed: int = 0
    cases: int = 0
    margin: float | None = None
    aim: Aim = "not_worse"
    concurrency: int = 2
    stop_at: float = 0.0
    seconds: float | None = None


@dataclass(slots=True)
class _Run:
    suite: Suite
    plan: Plan
    cases: Sequence[Case]
    done: dict[tuple[str, int], Pair]
    stopped: bool = False
    began: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Stop where harm is plain before the end; once seen, later cases do not unsee it."""
        at = self.plan.stop_at
        if at and not self.stopped and len(self.done) < len(self.cases) * self.suite.card.samples:
            self.stopped = bool(self.done) and is_harmed(self.measured(), at)

    def measured(self) -> Measured:
        """The cases that both have answered, up to the first that is open."""
        card = self.suite.card
        ours: list[float] = []
        theirs: list[float] = []
        groups: list[str] = []
        answers: list[tuple[str, str]] = []
        for case in self.cases:
            pairs = [self.done.get((case.id, sample)) for sample in range(card.samples)]
            whole = [pair for pair in pairs if pair is not None]
            if len(whole) < card.samples:
                break
            ours.append(sum(pair.candidate.score for pair in whole) / len(whole))
            theirs.append(sum(pair.incumbent.score for pair in whole) / len(whole))
            groups.append(case.group or case.id)
            answers.append((whole[0].candidate.answer, whole[0].incumbent.answer))
        grouped = any(case.group is not None for case in self.cases)
        return Measured(
            suite=card.name,
            version=card.version,
            margin=self.plan.margin if self.plan.margin is not None else card.margin,
            aim=self.plan.aim,
            candidate=ours,
            incumbent=theirs,
            groups=groups if grouped else None,
            planned=len(self.cases),
            stopped=self.stopped,
            seconds=time.monotonic() - self.began,
            answers=answers,
        )


async def run_suite(
    suite: Suite,
    candidate: Model,
    incumbent: Model,
    plan: Plan,
    *,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Attempt every case ``card.samples`` times with both; what the journal holds is not repeated.

    Who goes first alternates. An attempt that takes longer than the card allows, or that the
    service refuses as unfit, scores 0; any other failure is raised. Stops before the end only
    where harm is plain (`is_harmed`), or the plan's time is up. Raises SuiteError for a suite
    without cases or with two of one id, NothingMeasured for one that is refused as a whole or of
    which nothing was answered in time.
    """
    cases = _choose(suite, plan)
    run = _Run(suite, plan, cases, {} if journal is None else journal.read())
    run.look()
    total = len(cases) * suite.card.samples
    todo = iter(
        (number, case, sample)
        for number, case in enumerate(cases)
        for sample in range(suite.card.samples)
        if (case.id, sample) not in run.done
    )

    async def work() -> None:
        for number, case, sample in todo:
            if run.stopped:
                return
            seed = seed_for(plan.seed, case.id, sample)
            models = [candidate, incumbent]
            if (number + sample) % 2:
                models.reverse()
            attempts = [await attempt_case(suite, case, model, seed) for model in models]
            if (number + sample) % 2:
                attempts.reverse()
            pair = Pair(case=case.id, sample=sample, candidate=attempts[0], incumbent=attempts[1])
            if journal:
                journal.write(pair)
            run.done[case.id, sample] = pair
            if progress:
                progress(len(run.done), total)
            if len(run.done) % CHECK == 0:
                run.look()

    workers = [asyncio.create_task(work()) for _ in range(max(1, plan.concurrency))]
    patience = asyncio.timeout(plan.seconds)
    try:
        async with patience:
            await asyncio.gather(*workers)
    except TimeoutError:
        if not patience.expired():
            raise
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    refusals = [pair.incumbent.detail for pair in run.done.values()]
    if refusals and all(detail.startswith(REFUSED) for detail in refusals):
        raise NothingMeasured(f"the suite {suite.card.name}: every case was {refusals[0]}")
    measured = run.measured()
    if not measured.candidate:
        raise NothingMeasured(f"the suite {suite.card.name}: no case was answered in time")
    return measured


def _choose(suite: Suite, plan: Plan) -> Sequence[Case]:
    """In the suite's order; where there may not be time for all, in one that favours no kind."""
    if plan.seconds is None:
        return read_cases(suite, plan.cases)
    mixed = sorted(read_cases(suite), key=lambda case: seed_for(plan.seed, case.id, 0))
    return mixed[: plan.cases] if plan.cases else mixed


async def attempt_case(suite: Suite, case: Case, model: Model, seed: int) -> Attempt:
    """One attempt within the card's time, of which only what the attempt itself takes counts. One
    that takes longer, or that the service refuses as unfit, scores 0; any other failure is
    raised."""
    patience = asyncio.timeout(suite.card.seconds)
    clock = Clock(patience)
    try:
        async with patience:
            with running(clock):
                attempt = await suite.attempt(case, model, seed)
    except TimeoutError:
        if not patience.expired():
            raise
        attempt = Attempt(score=0.0, answer="", detail="out of time")
    except Refused as error:
        if not error.unfit:
            raise
        attempt = Attempt(score=0.0, answer="", detail=f"{REFUSED}{error}"[:300])
    if suite.card.private:
        refused = attempt.detail.startswith(REFUSED)
        attempt = Attempt(score=attempt.score, answer="", detail=REFUSED if refused else "")
    return Attempt(
        score=attempt.score,
        answer=attempt.answer,
        detail=attempt.detail,
        seconds=clock.seconds,
    )


def read_cases(suite: Suite, most: int = 0) -> Sequence[Case]:
    """The first ``most`` cases, or with 0 all. Raises SuiteError for a suite without cases, or with
    two of one id."""
    every = suite.cases()
    cases = every[:most] if most else every
    if not cases:
        raise SuiteError(f"the suite {suite.card.name} has no cases")
    if len({case.id for case in cases}) < len(cases):
        raise SuiteError(f"the suite {suite.card.name} has two cases of one id")
    return cases


def seed_for(seed: int, case: str, sample: int) -> int:
    """The seed of one attempt, the same for every model."""
    digest = hashlib.blake2b(f"{seed}\0{case}\0{sample}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1
