"""The torch engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import reference
from tests.engines.conformance import CODE, CONTEXT, EngineConformance, GuidedConformance, Harness

from liveweights.catalog.checkpoint import Checkpoint
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch import TorchEngine


@pytest.fixture(scope="module")
def harness(
    base: Checkpoint, adapter: Checkpoint, tokenizer: Any, model_cache: Path
) -> Iterator[Harness]:
    with asyncio.Runner() as runner:
        settings = EngineSettings(kind="torch", context_length=CONTEXT)
        engine = TorchEngine(base, model_cache, settings, tokenizer)
        runner.run(engine.load(base))
        yield Harness(runner, engine, base, adapter, tokenizer)
        runner.run(engine.close())


class TestTorchEngine(EngineConformance, GuidedConformance):
    def test_scores_given_tokens(self, harness: Harness) -> None:
        prompt, output = harness.ids(CODE), harness.ids("usage: main FILE")
        assert isinstance(harness.engine, TorchEngine)
        scores = harness.run(harness.engine.score(harness.base.id, prompt, output))
        expected = reference.raw_logprobs(reference.read(harness.base.folder), prompt, output)
        assert scores == pytest.approx(expected, abs=1e-4)

    def test_a_prompt_that_was_seen_is_not_computed_again(self, harness: Harness) -> None:
        prompt = harness.ids(CODE * 3)
        how: dict[str, Any] = {"max_tokens": 8, "temperature": 0.0}
        first = harness.run(harness.collect(prompt, **how))
        worker = harness.engine._worker  # type: ignore[union-attr]
        shared, _ = worker._prefixes.find(harness.base.id, prompt)
        assert shared == len(prompt) - 1
        again = harness.run(harness.collect(prompt, **how))
        assert [t.id for t in first] == [t.id for t in again]
        model = reference.read(harness.base.folder)
        assert harness.error(model, prompt, again) <= harness.engine.tolerance
