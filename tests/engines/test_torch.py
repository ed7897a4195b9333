"""The torch engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import reference
from tests.engines.conformance import CODE, CONTEXT, EngineConformance, Harness

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


class TestTorchEngine(EngineConformance):
    def test_scores_given_tokens(self, harness: Harness) -> None:
        prompt, output = harness.ids(CODE), harness.ids("usage: main FILE")
        assert isinstance(harness.engine, TorchEngine)
        scores = harness.run(harness.engine.score(harness.base.id, prompt, output))
        expected = reference.raw_logprobs(reference.read(harness.base.folder), prompt, output)
        assert scores == pytest.approx(expected, abs=1e-4)
