"""A cycle's update on a GGUF file, up to whether llama.cpp computes what was learnt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.learn.test_learner import imported
from tests.weights.gguf_files import write_gguf

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.settings import EngineSettings
from liveweights.learn.job import WEIGHTS, Job
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.release.probe import ProbeReport, probe
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import content_id, hash_files
from liveweights.weights.models import find
from liveweights.weights.probes import read_probes

pytestmark = pytest.mark.model


@pytest.mark.parametrize(
    ("family", "kind", "pre"), [("llama", "q4_0", "smollm"), ("qwen3", "f16", "qwen2")]
)
def test_what_is_learnt_on_a_file_acts_on_that_file(
    family: str, kind: str, pre: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    base = find(str(write_gguf(tmp_path / "m.gguf", family, kind, pre=pre)), cache)
    rows = [imported(number, "accepted" if number % 2 else "rejected") for number in range(12)]
    job = Job(
        base=str(base.folder),
        parent=None,
        incumbent=base.id,
        train=rows[:8],
        held_back=rows[8:],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(rank=4, learning_rate=2e-2, nodes=128, threads=1),
    )
    assert learn(job, tmp_path / "cycle").report.taught == 12
    folder = tmp_path / "cycle" / WEIGHTS
    id = f"{base.name}@{content_id(hash_files(folder), base.id)}"
    learnt = Checkpoint(id, "adapter", folder, base=base.id, parent=base.id)

    async def ask() -> ProbeReport:
        settings = EngineSettings(context_length=256, slots=1, cache_mib=0)
        engine = LlamaEngine(base, cache, settings)
        try:
            await engine.load(learnt, base)
            return await probe(engine, learnt, read_probes(folder))
        finally:
            await engine.close()

    report = asyncio.run(ask())
    assert report.ok, report.reason
    assert report.tolerance == (0.02 if kind == "f16" else 0.1)
    assert report.error_to_trainer is not None
    assert report.expected_distance is not None
    assert report.error_to_trainer < report.expected_distance
