"""A service whose users say what they would have written, and whose cycles are all promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.record.rows import START, make_feedback, make_generation
from tests.record.test_window import HOUR
from tests.sharing.tiny import encode, read_logprobs

from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.cycle.worker import Worker
from liveweights.learn.settings import LearnSettings
from liveweights.record.batch import prepare, store
from liveweights.record.binary import Row
from liveweights.record.binary import encode as encode_row
from liveweights.record.feedback import Feedback
from liveweights.release import aliases, moves
from liveweights.store.database import Pool, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

LEARN = LearnSettings(
    device="cpu",
    dtype="float32",
    threads=1,
    rank=4,
    learning_rate=5e-3,
    kl_target=5.0,
    probes=2,
)


class Tiny(NamedTuple):
    """A base, and what computes it."""

    base: Checkpoint
    model: Any


class Speaker(NamedTuple):
    """A ``user``, whose answers have names that begin with ``name`` and begin with ``says``."""

    name: str
    says: str
    user: str
    tenant: str = "default"


@dataclass
class History:
    """Under the alias ``code``, by the settings ``config``."""

    pool: Pool
    home: Path
    tiny: Tiny
    config: Config

    async def begin(self) -> None:
        async with self.pool.connection() as conn:
            await register(conn, self.tiny.base, {})
            await aliases.create(conn, "code", self.tiny.base.id)

    async def use(
        self, window: int, speakers: Sequence[Speaker], checkpoint: str | None = None
    ) -> None:
        """Each asks in three sessions, and says what they would have written."""
        generations: list[Row] = []
        said: list[Feedback] = []
        at = START + window * HOUR
        for speaker in speakers:
            for number in range(3):
                name = f"{speaker.name}-{window}-{number}"
                generations.append(self._answer(name, speaker, number, at, checkpoint))
                signals: tuple[tuple[Any, str | None], ...] = (
                    ("accepted" if number else "rejected", None),
                    ("correction", f"{speaker.says} wrote {number}"),
                )
                said += [
                    make_feedback(
                        f"{name}-{signal}",
                        name,
                        signal=signal,
                        text=text,
                        tenant=speaker.tenant,
                        received_at=at + HOUR,
                    )
                    for signal, text in signals
                ]
        async with self.pool.connection() as conn:
            await prepare(conn)
            await store(conn, generations, said)

    def _answer(
        self, name: str, speaker: Speaker, number: int, at: Any, checkpoint: str | None
    ) -> Row:
        output = f"{speaker.says} {number}"
        prompt, answer = encode(f"{name}="), encode(output)
        logprobs = read_logprobs(self.tiny.model, [*prompt, *answer])
        served = [float(logprobs[len(prompt) - 1 + n, id]) for n, id in enumerate(answer)]
        made = make_generation(
            name,
            created_at=at,
            alias="code",
            checkpoint=checkpoint or self.tiny.base.id,
            prompt_ids=prompt,
            output_ids=answer,
            logprobs=served,
            raw_logprobs=served,
            output=output,
            temperature=1.0,
            user=speaker.user,
            tenant=speaker.tenant,
            session=name,
        )
        return encode_row(made)

    async def turn(self, alias: str = "code") -> str:
        """A cycle whose candidate is promoted; that."""
        worker = Worker(self.pool, self.config.for_worker(alias), self.home, "http://127.0.0.1:1")
        assert await worker.turn(now=True) is not None
        cycle = await worker.turn(now=True)
        assert cycle is not None
        assert cycle.state == "calibrating", cycle.reason
        assert cycle.candidate is not None
        async with self.pool.connection() as conn:
            await moves.promote(conn, alias, cycle.candidate, cycle=cycle.id, reason="r")
            await ledger.advance(conn, cycle, "ended", outcome="promoted")
        return cycle.candidate


def run_history(
    dsn: str, home: Path, tiny: Tiny, config: Config, test: Callable[[History], Awaitable[None]]
) -> None:
    """Runs ``test`` on a history that has just begun."""

    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            history = History(pool, home, tiny, config)
            await history.begin()
            await test(history)
        finally:
            await pool.close()

    asyncio.run(go())
