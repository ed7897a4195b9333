"""A product's users in a database: what they ask, who answers, what they say of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from liveweights.config import Config
from liveweights.cycle.ledger import begin_release
from liveweights.cycle.worker import Worker
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.release import aliases, canaries
from liveweights.release.rollout import begin, shares
from liveweights.serve.router import Router
from liveweights.store.database import Pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import content_id
from liveweights.weights.registry import register

WEIGHTS = save({"w": np.zeros(4, np.float32)})
BASE = f"base@{content_id({'model.safetensors': hashlib.sha256(WEIGHTS).hexdigest()})}"
GOOD, BAD = (f"{name}@000000000000" for name in ("good", "bad"))


def write_base(folder: Path) -> Path:
    """The folder of ``BASE``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    return folder


@dataclass(frozen=True)
class Habit:
    """How a checkpoint answers."""

    accepted: float = 0.5
    failed: float = 0.0
    silent: float = 0.1
    seconds: float = 0.3
    text: str = "return total"


@dataclass
class Product:
    """Sessions of four requests each, routed as the API routes them."""

    pool: Pool
    config: Config
    home: Path
    habits: dict[str, Habit]
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    sessions: int = 0
    asked: int = 0
    one_session: bool = False
    """Whether everything is asked in one, by one user."""

    async def fill(self) -> None:
        folder = write_base(self.home / "base")
        async with self.pool.connection() as conn:
            await register(conn, Checkpoint(BASE, "base", folder), {})
            for name in (GOOD, BAD):
                await register(conn, Checkpoint(name, "adapter", Path("/"), BASE, BASE), {})
            await aliases.create(conn, self.config.alias, BASE)

    def worker(self) -> Worker:
        return Worker(self.pool, self.config.for_worker(), self.home, "http://127.0.0.1:1")

    async def try_out(self, checkpoint: str) -> None:
        """Begin a canary as the gate would, or a person."""
        settings = self.config.canary
        share, shadow = shares(begin(settings), settings)
        async with self.pool.connection() as conn:
            cycle = await begin_release(conn, self.config.alias, checkpoint, "test")
            await canaries.start_canary(
                conn,
                self.config.alias,
                checkpoint,
                share,
                shadow=shadow,
                cycle=cycle.id,
                reason="test",
            )

    async def use(self, sessions: int) -> None:
        """So many new users come by, one session each."""
        async with self.pool.connection() as conn:
            alias = await aliases.read(conn, self.config.alias)
            router = Router()
            router.set(alias.name, alias.live, alias.canary, alias.share, by_answer=alias.by_answer)
            generations: list[Generation] = []
            feedback: list[Feedback] = []
            for _ in range(sessions):
                self.sessions += 1
                session = "s1" if self.one_session else f"s{self.sessions}"
                for _ in range(4):
                    with router.pin(alias.name, session) as pin:
                        self._ask(pin.checkpoint, session, generations, feedback)
            await prepare(conn)
            await store(conn, [encode(one) for one in generations], feedback)

    def _ask(
        self,
        checkpoint: str,
        session: str,
        generations: list[Generation],
        feedback: list[Feedback],
    ) -> None:
        habit, self.asked = self.habits[checkpoint], self.asked + 1
        failed = self.draw.random() < habit.failed
        silent = failed or self.draw.random() < habit.silent
        made = Generation(
            id=f"g{self.asked}",
            created_at=datetime.now(UTC),
            alias=self.config.alias,
            checkpoint=checkpoint,
            endpoint="completion",
            prompt_ids=[1],
            output_ids=[] if failed else [2],
            logprobs=[] if failed else [-1.0],
            raw_logprobs=[] if failed else [-1.0],
            output="" if silent else habit.text,
            finish_reason="error" if failed else "stop",
            temperature=1.0,
            top_p=1.0,
            user=f"user-{session}",
            session=session,
            first_token_ms=1.0,
            total_ms=1000 * habit.seconds * self.draw.lognormvariate(0, 0.4),
        )
        generations.append(made)
        if not silent:
            taken = self.draw.random() < habit.accepted
            feedback.append(
                Feedback(
                    id=f"f{self.asked}",
                    generation=made.id,
                    signal="accepted" if taken else "rejected",
                    received_at=datetime.now(UTC),
                )
            )

    async def run(self, turns: int, sessions: int, until: Callable[[Any], bool]) -> Any:
        """Traffic and looks in turn until the cycle is as ``until`` says; the cycle then."""
        worker = self.worker()
        for _ in range(turns):
            await self.use(sessions)
            worker.steps.trying.next_look = 0.0
            cycle = await worker.turn()
            if cycle is not None and until(cycle):
                return cycle
        raise AssertionError(f"not reached in {turns} turns")
