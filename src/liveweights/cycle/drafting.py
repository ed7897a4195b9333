"""What candidate and incumbent would say to the prompts that a cycle is judged on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from liveweights import __version__
from liveweights.config import Config
from liveweights.cycle.cases import read_cases
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.questions import ask, served
from liveweights.cycle.replays import keep_replays, read_replays
from liveweights.gate.calibration import Asked, Draft
from liveweights.gate.replay import Case, Values, values_of
from liveweights.record.generation import Generation
from liveweights.store.database import Pool
from liveweights.weights.registry import get
from liveweights.weights.selection import Selection, read_selection


@dataclass(frozen=True, slots=True)
class Drafting:
    """Asks at ``url``, the public API, under the service's own ``key``."""

    pool: Pool
    config: Config
    url: str
    cycle: Cycle
    key: str = ""

    @property
    def values(self) -> Values:
        return values_of(self.config.rewards)

    async def read_cases(self) -> list[tuple[Case, Generation]]:
        async with self.pool.connection() as conn:
            return await read_cases(
                conn, self.cycle, self.config.learn, self.config.cycle.replay_rows
            )

    async def read_selection(self, checkpoint: str) -> Selection | None:
        """When a checkpoint says nothing. Raises NotRegistered, and ValueError."""
        async with self.pool.connection() as conn:
            return read_selection((await get(conn, checkpoint)).folder)

    async def draft(self, cases: Sequence[tuple[Case, Generation]]) -> list[Asked]:
        """The greedy drafts of both, of the cases that both could answer."""
        cycle = self.cycle
        assert cycle.candidate is not None
        # Both at a time: what else the machine does meanwhile, it does to both.
        candidate, incumbent = await asyncio.gather(
            self._draft(cycle.candidate, cases), self._draft(cycle.incumbent, cases)
        )
        return [
            Asked(case, candidate[case.generation], incumbent[case.generation])
            for case, _ in cases
            if case.generation in candidate and case.generation in incumbent
        ]

    async def keep(self, checkpoint: str, drafts: dict[str, Draft]) -> None:
        """As what ``checkpoint`` would say."""
        async with self.pool.connection() as conn:
            await keep_replays(conn, self.cycle.id, checkpoint, self._setting, drafts)

    async def ask(
        self, checkpoint: str, cases: Sequence[tuple[Case, Generation]], *, drawn: bool = False
    ) -> dict[str, Draft]:
        """Ask a checkpoint now, whatever is known of it."""
        # The incumbent has users to answer besides.
        concurrency = 4 if checkpoint == self.cycle.candidate else 2
        return await ask(
            self.url, checkpoint, cases, key=self.key, concurrency=concurrency, drawn=drawn
        )

    @property
    def _setting(self) -> str:
        engine = self.config.engine
        return f"{__version__} {engine.kind} {engine.precision}"

    async def _draft(
        self, checkpoint: str, cases: Sequence[tuple[Case, Generation]]
    ) -> dict[str, Draft]:
        """By generation; it is asked what neither a gate nor a user has had it answer."""
        async with self.pool.connection() as conn:
            ids = [case.generation for case, _ in cases]
            known = await read_replays(conn, checkpoint, self._setting, ids)
        for case, generation in cases:
            if (draft := served(checkpoint, case, generation)) is not None:
                known.setdefault(case.generation, draft)
        new = await self.ask(checkpoint, [p for p in cases if p[0].generation not in known])
        await self.keep(checkpoint, new)
        return known | new
