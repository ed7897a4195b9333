from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.settings import EngineSettings
from liveweights.gate.monitors import Habits, measure_habits
from liveweights.learn.settings import LearnSettings
from liveweights.replay.circle import Circle, clicks_only, with_corrections
from liveweights.replay.corpus import Corpus
from liveweights.replay.measure import Measurement, choose
from liveweights.replay.scorecard import clustered_mean, rewards_of
from liveweights.replay.settings import MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.traffic import sessions
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer


def make_circle(base: Checkpoint, cache: Path, folder: Path, settings: LearnSettings) -> Circle:
    engine = LlamaEngine(base, cache, EngineSettings())
    return Circle(engine, load_tokenizer(base), base, folder, settings=settings)


@pytest.mark.model
def test_developers_type_and_the_checkpoint_learns(
    base: Checkpoint, model_cache: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        circle = make_circle(base, model_cache, tmp_path, LearnSettings())
        try:
            await circle.start()
            typed = sessions(Corpus.find(max_files=12).split(0).training, circle.traffic)
            examples = await circle.type(typed, 12, with_corrections)
            assert len(examples) == 12
            shown = [e for e in examples if e.generation.output.strip()]
            assert all(e.feedback for e in shown)
            result = await circle.turn(examples)
            assert result.report.taught > len(shown)
            assert result.report.mismatch is not None
            assert circle.live.parent == base.id
            assert circle.engine.resident() == {base.id, circle.live.id}
            again = await circle.type(typed, 3, clicks_only)
            assert {e.generation.checkpoint for e in again} == {circle.live.id}
            assert all(len(e.feedback) <= 1 for e in again)
        finally:
            await circle.engine.close()

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(7200)
def test_twenty_cycles_on_replay_traffic_do_not_collapse(
    base: Checkpoint, model_cache: Path, tmp_path: Path
) -> None:
    """Entropy, silence, length and repetition stay in bounds, and the last checkpoint is not
    worse on held-out files than any that was measured before it."""
    measured: list[Measurement] = []
    habits: list[Habits] = []
    entropies: list[float] = []

    async def run() -> None:
        circle = make_circle(base, model_cache, tmp_path, LearnSettings(threads=2))
        split = Corpus.find().split(0)
        places = choose(split.held_out_files, 24, MeasureSettings(), TrafficSettings())
        typed = sessions(split.training, circle.traffic)
        try:
            await circle.start()
            measured.append(await circle.measure(base, places))
            for number in range(1, 21):
                examples = await circle.type(typed, 60, with_corrections)
                habits.append(measure_habits([e.generation.output for e in examples]))
                report = (await circle.turn(examples[:-10], examples[-10:])).report
                assert report.entropy is not None
                assert report.masked < report.rows / 10
                entropies.append(report.entropy)
                print(number, habits[-1], report.entropy, report.kl, report.mismatch, flush=True)
                if number % 5 == 0:
                    measured.append(await circle.measure(circle.live, places))
                    print(number, measured[-1].outcomes.count("accepted"), flush=True)
        finally:
            await circle.engine.close()

    asyncio.run(run())
    assert min(entropies) > 0.1 * entropies[0]
    assert all(h.silence < 0.9 and h.repetition < 0.2 for h in habits)
    files = [place.file for place in measured[0].positions]
    values = [rewards_of([o or "silence" for o in m.outcomes], Rewards()) for m in measured]
    for earlier in values[:-1]:
        change = [new - old for new, old in zip(values[-1], earlier, strict=True)]
        assert clustered_mean(change, files).high >= 0
    gain = [new - old for new, old in zip(values[-1], values[0], strict=True)]
    assert clustered_mean(gain, files).mean > 0
