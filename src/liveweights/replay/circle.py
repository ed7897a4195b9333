"""The circle without HTTP, database, gate and canary: what learning alone is worth.

The same prompts, engine, record, learner and checkpoints as in the service, driven in one
process, so that benchmarks and tests of learning spend their time on learning.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from liveweights.engines.protocol import Engine, EngineError, Sampling
from liveweights.engines.text import heal
from liveweights.learn.baseline import Baseline
from liveweights.learn.learner import WEIGHTS, Job, Result, learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record.feedback import Feedback, Signal
from liveweights.record.generation import Generation
from liveweights.record.window import Example
from liveweights.replay.developer import STOP, Outcome, Position, judge
from liveweights.replay.measure import Measurement
from liveweights.replay.settings import TrafficSettings
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.draft import make_drafts
from liveweights.serve.router import Pin
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry
from liveweights.weights.selection import read_selection

React = Callable[[str, Generation, Outcome, Position], Sequence[tuple[Signal, str | None]]]
"""A user's signals (with their texts) for an outcome."""


def with_corrections(
    user: str, generation: Generation, outcome: Outcome, position: Position
) -> list[tuple[Signal, str | None]]:
    """Accept or reject, and say what was written instead, of a suggestion or of silence."""
    clicks = clicks_only(user, generation, outcome, position)
    return clicks if outcome == "accepted" else [*clicks, ("correction", position.correction)]


def clicks_only(
    user: str, generation: Generation, outcome: Outcome, position: Position
) -> list[tuple[Signal, str | None]]:
    """Accept or reject, nothing else."""
    del user, generation, position
    return [] if outcome == "silence" else [(outcome, None)]


@dataclass
class Circle:
    """Serves ``live``; ``turn`` makes what it learns live. Nothing is gated."""

    engine: Engine
    tokenizer: Any
    base: Checkpoint
    folder: Path
    settings: LearnSettings = field(default_factory=LearnSettings)
    rewards: RewardMap = field(default_factory=RewardMap)
    traffic: TrafficSettings = field(default_factory=TrafficSettings)
    developers: int = 4
    live: Checkpoint = field(init=False)
    baseline: Baseline = field(default_factory=Baseline.empty)
    turns: int = 0

    def __post_init__(self) -> None:
        self.live = self.base

    async def start(self) -> None:
        """Load the base. Raises EngineError."""
        await self.engine.load(self.base)

    async def type(
        self, sessions: Iterator[Sequence[Position]], count: int, react: React, users: int = 8
    ) -> list[Example]:
        """About ``count`` requests of users who type sessions, with their reactions, by time."""
        examples: list[Example] = []
        asked = 0

        async def develop() -> None:
            nonlocal asked
            for number, places in enumerate(sessions):
                first = places[0]
                user = f"developer-{hash_of(f'{first.file}:{first.line}') % users}"
                session = f"{self.turns}-{first.file}-{first.line}-{number}"
                for position in places:
                    if asked >= count:
                        return
                    asked += 1
                    generation = await self.ask(self.live, position, user, session)
                    outcome = judge(generation.output, position.expected)
                    examples.append(
                        _reacted(generation, react(user, generation, outcome, position))
                    )

        async with asyncio.TaskGroup() as group:
            for _ in range(self.developers):
                group.create_task(develop())
        return sorted(examples, key=lambda e: e.generation.created_at)

    async def ask(
        self,
        checkpoint: Checkpoint,
        position: Position,
        user: str,
        session: str,
        temperature: float | None = None,
    ) -> Generation:
        """One suggestion, recorded as the API records it. Raises EngineError."""
        cut, skip = heal(position.prompt)
        sampling = Sampling(
            max_tokens=self.traffic.max_tokens,
            temperature=self.traffic.temperature if temperature is None else temperature,
            stop=(STOP,),
            skip=skip,
        )
        caller = Caller(
            tenant="default",
            user=user,
            session=session,
            surface="editor",
            language="python",
            consent=True,
        )
        pin = Pin("code", checkpoint.id, read_selection(checkpoint.folder))
        asked = [(self.tokenizer.encode(cut), sampling)]
        (draft,) = make_drafts(pin, "completion", asked, caller, 1, silence=True)
        answer = self.engine.generate(checkpoint.id, draft.prompt_ids, sampling)
        async with aclosing(cast(Any, answer)) as tokens:
            async for token in tokens:
                if stop := draft.add(token).stop:
                    return draft.finish(stop)
        raise EngineError("the answer ended without a reason to stop")

    async def measure(
        self, checkpoint: Checkpoint, places: Sequence[Position], temperature: float = 0.0
    ) -> Measurement:
        """Outcomes of one checkpoint at held-out positions, file by file."""
        by_file: dict[str, list[int]] = {}
        for number, place in enumerate(places):
            by_file.setdefault(place.file, []).append(number)
        texts: list[str | None] = [None] * len(places)
        outcomes: list[Outcome | None] = [None] * len(places)
        waiting = iter(by_file.items())

        async def work() -> None:
            for file, numbers in waiting:
                for number in numbers:
                    answer = await self.ask(
                        checkpoint, places[number], "measure", file, temperature
                    )
                    texts[number] = answer.output
                    outcomes[number] = judge(answer.output, places[number].expected)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.developers):
                group.create_task(work())
        return Measurement(checkpoint.id, tuple(places), tuple(texts), tuple(outcomes))

    async def turn(self, train: Sequence[Example], held_back: Sequence[Example] = ()) -> Result:
        """Learn from ``train`` and make the result live, if it learnt anything."""
        self.turns += 1
        job = Job(
            base=str(self.base.folder),
            parent=None if self.live.kind == "base" else str(self.live.folder),
            incumbent=self.live.id,
            train=list(train),
            held_back=list(held_back),
            baseline_weight=dict(self.baseline.weight),
            baseline_total=dict(self.baseline.total),
            selection=read_selection(self.live.folder),
            rewards=self.rewards,
            settings=self.settings,
        )
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            result = await asyncio.to_thread(learn, job, Path(place))
            self.baseline = Baseline(result.baseline_weight, result.baseline_total)
            if not result.report.taught:
                return result
            made = Registry(self.folder / "checkpoints").store(
                Path(place) / WEIGHTS,
                self.base.name,
                "adapter",
                self.base.id,
                self.live.id,
                {"cycle": self.turns, "report": msgspec.to_builtins(result.report)},
            )
        await self.engine.load(made, self.base)
        if self.live.id not in (self.base.id, made.id):
            await self.engine.unload(self.live.id)
        self.live = made
        return result


def hash_of(text: str) -> int:
    """A number that depends on the text only."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def _reacted(generation: Generation, signals: Sequence[tuple[Signal, str | None]]) -> Example:
    now = datetime.now(UTC)
    return Example(
        generation,
        tuple(
            Feedback(
                id=f"{generation.id}-{number}",
                generation=generation.id,
                signal=signal,
                text=text,
                received_at=now,
            )
            for number, (signal, text) in enumerate(signals)
        ),
    )
