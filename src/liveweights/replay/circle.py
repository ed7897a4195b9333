"""The circle without HTTP, database, gate and canary: what learning alone is worth.

The same prompts, engine, record, learner and checkpoints as in the service, driven in one
process, so that benchmarks and tests of learning spend their time on learning.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from liveweights.engines.protocol import Engine, EngineError, Sampling, Token
from liveweights.engines.text import heal
from liveweights.gate.calibration import Asked, Calibration, Draft, calibrate, may_say_nothing
from liveweights.gate.cases import make_cases
from liveweights.gate.scoring import values_of
from liveweights.gate.settings import GateSettings
from liveweights.learn.baseline import Baseline
from liveweights.learn.job import WEIGHTS, Job, Result
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback, Signal
from liveweights.record.generation import Generation, Surface
from liveweights.record.split import split_key
from liveweights.replay.developer import STOP, Outcome, Position, judge
from liveweights.replay.measure import Measurement
from liveweights.replay.settings import TrafficSettings
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.draft import make_drafts
from liveweights.serve.router import Pin
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry
from liveweights.weights.selection import Selection, confidence
from liveweights.weights.whole import make_whole

SignalValue = tuple[Signal, str | float | None]
"""A signal with its text or its number."""
React = Callable[[str, Generation, Outcome, Position], Sequence[SignalValue]]
"""A user's signals for an outcome."""


def with_corrections(
    user: str, generation: Generation, outcome: Outcome, position: Position
) -> list[SignalValue]:
    """Accept or reject, and say what was written instead, of a suggestion or of silence."""
    clicks = clicks_only(user, generation, outcome, position)
    return clicks if outcome == "accepted" else [*clicks, ("correction", position.correction)]


def clicks_only(
    user: str, generation: Generation, outcome: Outcome, position: Position
) -> list[SignalValue]:
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
    whole: Checkpoint = field(init=False)
    """``live`` itself where it has whole weights, in a folder that can be read; else the base."""
    baseline: Baseline = field(default_factory=Baseline.empty)
    turns: int = 0
    gate: GateSettings = field(default_factory=GateSettings)
    """Its bounds on silence; nothing else of it is applied."""
    cases: int = 500
    """Most held-back completions that a decision to say nothing is fitted to."""
    judges: list[Example] = field(default_factory=list[Example])
    selections: dict[str, Selection | None] = field(default_factory=dict[str, "Selection | None"])
    calibration: Calibration | None = None
    """Of the last turn."""
    drafts: dict[tuple[str, str], Draft] = field(default_factory=dict[tuple[str, str], Draft])

    def __post_init__(self) -> None:
        self.live = self.whole = self.base
        self._registry = Registry(self.folder / "checkpoints")

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
                    examples.append(reacted(generation, react(user, generation, outcome, position)))

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
        *,
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
            language=position.language,
            consent=True,
        )
        prompt_ids = self.tokenizer.encode(cut)
        return await self.answer(
            checkpoint, "completion", prompt_ids, sampling, caller=caller, silence=True
        )

    async def answer(
        self,
        checkpoint: Checkpoint,
        surface: Surface,
        prompt_ids: list[int],
        sampling: Sampling,
        *,
        caller: Caller,
        silence: bool = False,
    ) -> Generation:
        """One answer, recorded as the API records it. Raises EngineError."""
        pin = Pin("code", "code", checkpoint.id, self.selections.get(checkpoint.id))
        asked = [(prompt_ids, sampling)]
        (draft,) = make_drafts(pin, surface, asked, caller, 1, engine=self.engine, silence=silence)
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
                        checkpoint, places[number], "measure", file, temperature=temperature
                    )
                    texts[number] = answer.output
                    outcomes[number] = judge(answer.output, places[number].expected)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.developers):
                group.create_task(work())
        return Measurement(checkpoint.id, tuple(places), tuple(texts), tuple(outcomes))

    async def turn(
        self,
        train: Sequence[Example],
        held_back: Sequence[Example] = (),
        follow_ups: Mapping[str, list[int]] | None = None,
    ) -> Result:
        """Learn from ``train`` and make the result live, if it learnt anything.

        When it says nothing is fitted to what it drafts for ``held_back`` and for what earlier
        turns held back. ``follow_ups`` are those of `job.Job`.
        """
        self.turns += 1
        self.judges = [*held_back, *self.judges][: self.cases]
        job = Job(
            base=str(self.whole.folder),
            parent=str(self.live.folder) if self.live.kind == "adapter" else None,
            incumbent=self.live.id,
            train=list(train),
            held_back=list(held_back),
            follow_ups=dict(follow_ups or {}),
            baseline_weight=dict(self.baseline.weight),
            baseline_total=dict(self.baseline.total),
            rewards=self.rewards,
            settings=self.settings,
        )
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            result = await asyncio.to_thread(learn, job, Path(place))
            self.baseline = Baseline(result.baseline_weight, result.baseline_total)
            if not result.report.taught:
                return result
            made = self._registry.store(
                Path(place) / WEIGHTS,
                self.base.name,
                kind=result.kind,
                base=self.whole.id,
                parent=self.live.id,
                card={"cycle": self.turns, "report": msgspec.to_builtins(result.report)},
            )
        whole = await make_whole(made, self._find, self.folder / "whole")
        await self.engine.load(whole, self.base if made.kind == "adapter" else None)
        self.calibration = await self._calibrate(made)
        if self.calibration:
            self.selections[made.id] = self.calibration.selection
        if self.live.id not in (self.base.id, made.id):
            await self.engine.unload(self.live.id)
        self.live = made
        self.whole = self.base if made.kind == "adapter" else whole
        return result

    async def _find(self, id_: str) -> Checkpoint:
        return self.base if id_ == self.base.id else self._registry.load(id_)

    async def _calibrate(self, candidate: Checkpoint) -> Calibration | None:
        cases = make_cases(self.judges, 1.0, self.rewards)
        if not may_say_nothing([case for case, _ in cases], self.settings):
            return None
        asked = [
            Asked(case, await self._draft(candidate, g), await self._draft(self.live, g))
            for case, g in cases
        ]
        incumbent = self.selections.get(self.live.id)
        return calibrate(
            asked, incumbent, values_of(self.rewards), settings=self.gate, learn=self.settings
        )

    async def _draft(self, checkpoint: Checkpoint, generation: Generation) -> Draft:
        """What a checkpoint would say greedily, asked once."""
        key = (checkpoint.id, generation.id)
        if key not in self.drafts:
            sampling = Sampling(
                max_tokens=generation.max_tokens or self.traffic.max_tokens,
                temperature=0.0,
                stop=(STOP,),
                skip=generation.healed,
            )
            answer = self.engine.generate(checkpoint.id, generation.prompt_ids, sampling)
            tokens: list[Token] = []
            async with aclosing(cast(Any, answer)) as drafted:
                tokens = [token async for token in drafted]
            self.drafts[key] = Draft(
                "".join(token.text for token in tokens),
                confidence([token.raw_logprob for token in tokens]),
            )
        return self.drafts[key]


def hash_of(text: str) -> int:
    """A number that depends on the text only."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def hold_back(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """What is learnt from, and what is not: whole sessions, which the service's own order of them
    holds back first (`record.split`), until they are ``share`` of them: at least one, never all."""
    keys: dict[str, None] = {}
    for example in examples:
        keys.setdefault(_split_key(example.generation))
    ordered = sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())
    held = frozenset(ordered[: min(len(ordered) - 1, max(1, round(share * len(ordered))))])
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        sides[_split_key(example.generation) in held].append(example)
    return sides


def _split_key(generation: Generation) -> str:
    return split_key(generation.tenant, generation.session, generation.user, generation.id)


def reacted(generation: Generation, signals: Sequence[SignalValue]) -> Example:
    """An answer with what was sent about it."""
    return Example(generation, sent(generation.id, signals))


def sent(generation: str, signals: Sequence[SignalValue]) -> tuple[Feedback, ...]:
    """Signals as they are recorded."""
    now = datetime.now(UTC)
    return tuple(
        Feedback(
            id=f"{generation}-{number}",
            generation=generation,
            signal=signal,
            value=value if isinstance(value, float) else None,
            text=value if isinstance(value, str) else None,
            received_at=now,
        )
        for number, (signal, value) in enumerate(signals)
    )
