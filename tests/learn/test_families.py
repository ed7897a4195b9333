"""The whole circle on a tiny model of each family: serve, react, update, swap, probe."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.learn.families import FAMILIES, make_family

from liveweights.engines.protocol import Sampling, Token
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch.engine import TorchEngine
from liveweights.learn.job import WEIGHTS, Job
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback, Signal
from liveweights.record.generation import Generation
from liveweights.release.probe import probe
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, load_tokenizer
from liveweights.weights.probes import read_probes
from liveweights.weights.registry import Registry, verify
from liveweights.weights.whole import make_whole

PROMPTS = ["import os, sys\n", "import os\n", "def main():\n", "for x in range(", "return a"]
QUICK = {"llama", "deepseek_v3"}
DENSE = {"llama", "gpt2"}


@dataclass
class Circle:
    base: Checkpoint
    engine: TorchEngine
    registry: Registry
    cache: Path

    async def answer(self, checkpoint: str, prompt: list[int], seed: int) -> list[Token]:
        sampling = Sampling(max_tokens=6, temperature=1.0, seed=seed)
        async with aclosing(self.engine.generate(checkpoint, prompt, sampling)) as tokens:
            return [token async for token in tokens]

    async def serve(self) -> list[Example]:
        """Answers of the base; every other is rejected and corrected."""
        tokenizer: Any = load_tokenizer(self.base)
        examples: list[Example] = []
        for number in range(15):
            prompt = tokenizer(PROMPTS[number % len(PROMPTS)]).input_ids
            tokens = await self.answer(self.base.id, prompt, number)
            examples.append(_example(number, self.base.id, prompt, tokens))
        return examples


def _example(number: int, checkpoint: str, prompt: list[int], tokens: list[Token]) -> Example:
    now = datetime.now(UTC)
    generation = Generation(
        id=f"g{number}",
        created_at=now,
        alias="m",
        checkpoint=checkpoint,
        endpoint="completion",
        prompt_ids=prompt,
        output_ids=[token.id for token in tokens],
        logprobs=[token.logprob for token in tokens],
        raw_logprobs=[token.raw_logprob for token in tokens],
        output="".join(token.text for token in tokens) or "?",
        finish_reason="length",
        temperature=1.0,
        top_p=1.0,
        user=f"u{number % 4}",
        session=f"s{number % 4}",
        experts=tokens[-1].experts.to_bytes() if tokens[-1].experts else None,
    )

    def said(signal: Signal, text: str | None = None) -> Feedback:
        return Feedback(id=signal, generation="g", signal=signal, text=text, received_at=now)

    if number % 2:
        return Example(generation, (said("rejected"), said("correction", "pass\n")))
    return Example(generation, (said("accepted"),))


def turn(circle: Circle, folder: Path, settings: LearnSettings, *, mixture: bool) -> None:
    async def go() -> None:
        base, engine = circle.base, circle.engine
        await engine.load(base)
        examples = await circle.serve()
        job = Job(
            base=str(base.folder),
            parent=None,
            incumbent=base.id,
            train=examples[:11],
            held_back=examples[11:],
            baseline_weight={},
            baseline_total={},
            rewards=RewardMap(),
            settings=settings,
        )
        job = msgspec.json.decode(msgspec.json.encode(job), type=Job)
        result = await asyncio.to_thread(learn, job, folder)
        assert result.report.taught > 5
        # What the server sampled with is what the trainer computes.
        assert result.report.mismatch is not None
        assert result.report.mismatch < 1e-4
        recorded = [example for example in job.train if example.generation.experts]
        assert result.report.served_routing == len(recorded) == (11 if mixture else 0)
        assert result.report.unfit_routing == 0
        stored = circle.registry.store(
            folder / WEIGHTS, base.name, kind=result.kind, base=base.id, parent=base.id, card={}
        )
        verify(stored)

        async def get(_: str) -> Checkpoint:
            return base

        whole = await make_whole(stored, get, circle.cache)
        await engine.load(whole, base if stored.kind == "adapter" else None)
        report = await probe(engine, stored, read_probes(stored.folder))
        assert report.ok, report
        assert report.expected_distance is not None
        assert report.expected_distance > 0.01
        assert report.error_to_trainer is not None
        assert report.error_to_trainer < 1e-3
        prompt = examples[0].generation.prompt_ids
        again = await circle.answer(base.id, prompt, 0)
        assert [t.logprob for t in again] == examples[0].generation.logprobs
        await engine.unload(stored.id)

    asyncio.run(go())


def make_circle(family: str, folder: Path) -> Circle:
    base = find(str(make_family(family, folder / family)), folder / "cache")
    engine = TorchEngine(base, folder, EngineSettings(kind="torch", context_length=64))
    return Circle(base, engine, Registry(folder / "checkpoints"), folder / "cache")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_goes_round(family: str, tmp_path: Path) -> None:
    settings = LearnSettings(rank=4, learning_rate=5e-3, nodes=128, threads=1)
    circle = make_circle(family, tmp_path)
    try:
        turn(circle, tmp_path / "cycle", settings, mixture=family not in DENSE)
    finally:
        asyncio.run(circle.engine.close())


@pytest.mark.parametrize(
    "family",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES],
)
def test_full_weights_go_round_as_a_difference(family: str, tmp_path: Path) -> None:
    settings = LearnSettings(updater="full", full_learning_rate=1e-3, nodes=128, threads=1)
    circle = make_circle(family, tmp_path)
    try:
        turn(circle, tmp_path / "cycle", settings, mixture=family not in DENSE)
    finally:
        asyncio.run(circle.engine.close())
