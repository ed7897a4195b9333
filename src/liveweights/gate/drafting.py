"""What candidate and incumbent would say to the prompts that a candidate is judged on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from liveweights.gate.calibration import Asked, Draft
from liveweights.gate.drafts import keep_drafts, read_drafts
from liveweights.gate.questions import ask, ending, prompt_size, served
from liveweights.gate.scoring import Case
from liveweights.record.generation import Generation
from liveweights.store.database import Connection, Pool

PART = 64
"""Drafts that are kept together: what is lost when the service or the worker is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """Asks at ``url``, the public API, under the service's own ``key``. Drafts are kept with the
    ``cycle`` that asked for them; those of another ``engine`` are asked for again. ``tell`` hears
    how many of how many drafts are there."""

    pool: Pool
    url: str
    key: str
    engine: str
    cycle: int
    candidate: str
    incumbent: str
    tell: Callable[[int, int], None] | None = None

    async def draft(self, cases: Sequence[tuple[Case, Generation]]) -> list[Asked]:
        """The greedy drafts of both, of the cases that both could answer.

        Raises what `questions.ask` raises, when the other has drafted what it can: what is there
        is kept by then.
        """
        count = 0

        def drafted(number: int) -> None:
            nonlocal count
            count += number
            if self.tell:
                self.tell(count, 2 * len(cases))

        # Both at a time: what else the machine does meanwhile, it does to both.
        candidate, incumbent = await asyncio.gather(
            self._draft(self.candidate, cases, drafted),
            self._draft(self.incumbent, cases, drafted),
            return_exceptions=True,
        )
        if isinstance(candidate, BaseException):
            raise candidate
        if isinstance(incumbent, BaseException):
            raise incumbent
        return [
            Asked(case, candidate[case.generation], incumbent[case.generation])
            for case, _ in cases
            if case.generation in candidate and case.generation in incumbent
        ]

    async def keep(
        self,
        conn: Connection,
        checkpoint: str,
        cases: Sequence[tuple[Case, Generation]],
        drafts: Mapping[str, Draft],
    ) -> None:
        """As what ``checkpoint`` would say to these of the cases, in the caller's transaction."""
        await keep_drafts(
            conn,
            self.cycle,
            checkpoint=checkpoint,
            engine=self.engine,
            drafts=drafts,
            asked=_digest(cases),
        )

    async def ask(
        self,
        checkpoint: str,
        cases: Sequence[tuple[Case, Generation]],
        *,
        drawn: bool = False,
        answered: Callable[[str, Draft], None] | None = None,
    ) -> dict[str, Draft]:
        """Ask a checkpoint now, whatever is known of it. Raises what `questions.ask` raises."""
        # The incumbent has users to answer besides.
        concurrency = 4 if checkpoint == self.candidate else 2
        return await ask(
            self.url,
            checkpoint,
            cases,
            key=self.key,
            concurrency=concurrency,
            drawn=drawn,
            answered=answered,
        )

    async def _draft(
        self,
        checkpoint: str,
        cases: Sequence[tuple[Case, Generation]],
        drafted: Callable[[int], None],
    ) -> dict[str, Draft]:
        """By generation; it is asked what neither a gate nor a user has had it answer, and what it
        did answer is kept, though it fails then."""
        async with self.pool.connection() as conn:
            known = await read_drafts(conn, checkpoint, self.engine, _digest(cases))
        for case, generation in cases:
            if (draft := served(checkpoint, case, generation)) is not None:
                known.setdefault(case.generation, draft)
        drafted(len(known))
        left = _short_first([pair for pair in cases if pair[0].generation not in known])
        for place in range(0, len(left), PART):
            part = left[place : place + PART]
            new: dict[str, Draft] = {}

            def note(generation: str, draft: Draft, new: dict[str, Draft] = new) -> None:
                new[generation] = draft
                drafted(1)

            try:
                await self.ask(checkpoint, part, answered=note)
            except Exception:
                await self._keep(checkpoint, part, new)
                raise
            await self._keep(checkpoint, part, new)
            known |= new
        return known

    async def _keep(
        self,
        checkpoint: str,
        cases: Sequence[tuple[Case, Generation]],
        drafts: Mapping[str, Draft],
    ) -> None:
        async with self.pool.connection() as conn:
            await self.keep(conn, checkpoint, cases, drafts)


def _short_first(cases: Sequence[tuple[Case, Generation]]) -> list[tuple[Case, Generation]]:
    """By the longest prompt of each session, and in each: what takes long keeps nothing else from
    being asked, and an engine has the beginning of a session's prompt from the one before."""
    longest: dict[str, int] = {}
    for case, generation in cases:
        longest[case.session] = max(longest.get(case.session, 0), prompt_size(generation))
    return sorted(
        cases,
        key=lambda pair: (longest[pair[0].session], pair[0].session, prompt_size(pair[1])),
    )


def _digest(cases: Sequence[tuple[Case, Generation]]) -> dict[str, str]:
    """How each is asked, by generation."""
    return {case.generation: ending(case, generation).digest() for case, generation in cases}
