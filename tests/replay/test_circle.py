from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.settings import EngineSettings
from liveweights.gate.monitors import Habits, measure_habits
from liveweights.learn.settings import LearnSettings
from liveweights.learn.trust import is_near
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.record.split import split_key, split_of
from liveweights.replay.circle import Circle, clicks_only, hold_back, with_corrections
from liveweights.replay.comparison import clustered_mean, rewards_of
from liveweights.replay.corpus import Corpus
from liveweights.replay.measure import Measurement, choose
from liveweights.replay.settings import MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.traffic import sessions
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer


def make_circle(base: Checkpoint, cache: Path, folder: Path, settings: LearnSettings) -> Circle:
    engine = LlamaEngine(base, cache, EngineSettings())
    return Circle(engine, load_tokenizer(base), base, folder, settings=settings)


def example(session: str, number: int) -> Example:
    generation = Generation(
        id=f"{session}-{number}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        alias="code",
        checkpoint="base",
        endpoint="completion",
        prompt_ids=[1],
        output_ids=[2],
        logprobs=[-1.0],
        raw_logprobs=[-1.0],
        output="x",
        finish_reason="stop",
        temperature=1.0,
        top_p=1.0,
        session=session,
    )
    return Example(generation, ())


@given(
    st.dictionaries(st.text(min_size=1, max_size=6), st.integers(1, 4), min_size=1, max_size=12),
    st.floats(0.05, 0.9),
)
def test_whole_sessions_are_held_back_as_the_service_does(
    sizes: dict[str, int], share: float
) -> None:
    examples = [example(name, number) for name, size in sizes.items() for number in range(size)]
    train, held = hold_back(examples, share)
    assert sorted(e.generation.id for e in (*train, *held)) == sorted(
        e.generation.id for e in examples
    )
    ours, theirs = ({e.generation.session for e in side} for side in (train, held))
    assert not ours & theirs
    assert ours
    assert len(theirs) == min(len(sizes) - 1, max(1, round(share * len(sizes))))
    # Wherever the service would hold back a session that is learnt from here, it would all of ours.
    for other in (0.1, 0.3, 0.6):
        sides = {name: split_of(split_key("default", name, None, ""), other) for name in sizes}
        if any(sides[str(name)] == "held_back" for name in ours):
            assert all(sides[str(name)] == "held_back" for name in theirs)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(3600)
def test_whole_weights_go_round_twice(base: Checkpoint, model_cache: Path, tmp_path: Path) -> None:
    async def run() -> None:
        circle = make_circle(base, tmp_path / "cache", tmp_path, LearnSettings(updater="full"))
        try:
            await circle.start()
            typed = sessions(Corpus.find(max_files=12).split(0).training, circle.traffic)
            for _ in range(2):
                before = circle.live
                await circle.turn(await circle.type(typed, 12, with_corrections))
                assert circle.live.kind == "full"
                assert circle.live.parent == before.id
                assert circle.whole.id == circle.live.id
                assert circle.engine.resident() == {base.id, circle.live.id}
        finally:
            await circle.engine.close()

    asyncio.run(run())


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
            assert result.report.taught >= len(shown)
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
                assert report.divergence is not None
                assert is_near(report.divergence, circle.settings.kl_target)
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
