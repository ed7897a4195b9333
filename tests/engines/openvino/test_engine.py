"""The openvino engine; `make test-openvino` runs this with the package."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import reference
from tests.engines.conformance import (
    CODE,
    CONTEXT,
    EngineConformance,
    GuidedConformance,
    Harness,
)
from tests.learn.families import make_config, write_family

from liveweights.engines.openvino.decoder import OpenVinoDecoder
from liveweights.engines.openvino.engine import OpenVinoEngine
from liveweights.engines.protocol import EngineError
from liveweights.engines.settings import EngineSettings
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find

pytest.importorskip("openvino", reason="needs OpenVINO: run `make test-openvino`")
pytestmark = pytest.mark.model


def make_harness(
    dtype: Any, runner: asyncio.Runner, base: Checkpoint, adapter: Checkpoint, *rest: Any
) -> Harness:
    tokenizer, cache = rest
    settings = EngineSettings(kind="openvino", context_length=CONTEXT, dtype=dtype)
    engine = OpenVinoEngine(base, cache, settings, tokenizer)
    runner.run(engine.load(base))
    return Harness(runner, engine, base, adapter, tokenizer)


@pytest.fixture(scope="module")
def harness(
    base: Checkpoint, adapter: Checkpoint, tokenizer: Any, model_cache: Path
) -> Iterator[Harness]:
    with asyncio.Runner() as runner:
        harness = make_harness("float32", runner, base, adapter, tokenizer, model_cache)
        yield harness
        runner.run(harness.engine.close())


class TestOpenVinoEngine(EngineConformance, GuidedConformance):
    def test_scores_given_tokens(self, harness: Harness) -> None:
        prompt, output = harness.ids(CODE), harness.ids("usage: main FILE")
        assert isinstance(harness.engine, OpenVinoEngine)
        scores = harness.run(harness.engine.score(harness.base.id, prompt, output))
        expected = reference.raw_logprobs(reference.read(harness.base.folder), prompt, output)
        assert scores == pytest.approx(expected, abs=1e-3)
        with pytest.raises(EngineError, match="do not fit"):
            harness.run(harness.engine.score(harness.base.id, prompt, [1] * CONTEXT))

    def test_a_prompt_that_was_seen_is_not_computed_again(self, harness: Harness) -> None:
        prompt = harness.ids(CODE * 3)
        how: dict[str, Any] = {"max_tokens": 8, "temperature": 0.0}
        first = harness.run(harness.collect(prompt, **how))
        assert isinstance(harness.engine, OpenVinoEngine)
        blocks = harness.engine._find(harness.base.id).blocks
        row = blocks.begin(prompt)
        assert len(row.ids) == (len(prompt) - 1) // blocks.size * blocks.size > 0
        blocks.end(row)
        again = harness.run(harness.collect(prompt, **how))
        assert [t.id for t in first] == [t.id for t in again]
        model = reference.read(harness.base.folder)
        assert harness.error(model, prompt, again) <= harness.engine.tolerance

    def test_guesses_change_nothing_of_what_is_sampled(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prompt = harness.ids("x = 1\ny = 2\nz = 3\n" * 6 + "x = 1\ny =")
        model = reference.read(harness.base.folder)
        passes: list[int] = []
        forward = OpenVinoDecoder.forward

        def counted(decoder: OpenVinoDecoder, ids: Any, prompts: Any) -> Any:
            passes.extend(map(len, ids))
            return forward(decoder, ids, prompts)

        monkeypatch.setattr(OpenVinoDecoder, "forward", counted)
        for how in ({"temperature": 0.0}, {"temperature": 0.7, "seed": 5}):
            tokens = harness.run(harness.collect(prompt, max_tokens=24, **how))
            assert harness.error(model, prompt, tokens) <= harness.engine.tolerance
        assert max(passes) > 1
        assert len(passes) < 2 * 23, "no guess was right"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="OpenVINO needs two cores for it")
def test_bfloat16_keeps_its_tolerance(
    base: Checkpoint, adapter: Checkpoint, tokenizer: Any, model_cache: Path
) -> None:
    with asyncio.Runner() as runner:
        harness = make_harness("bfloat16", runner, base, adapter, tokenizer, model_cache)
        prompt = harness.ids(CODE)
        runner.run(harness.engine.load(adapter, base))
        for checkpoint, model in (
            (base, reference.read(base.folder)),
            (adapter, reference.read_adapted(base.folder, adapter.folder)),
        ):
            answer = harness.collect(prompt, checkpoint.id, max_tokens=48, temperature=0.8, seed=5)
            tokens = runner.run(answer)
            assert harness.error(model, prompt, tokens) <= harness.engine.tolerance
        runner.run(harness.engine.close())


def test_an_architecture_that_cannot_be_served_says_so(tmp_path: Path) -> None:
    base = find(str(write_family(make_config("nemotron_h"), tmp_path / "model")), tmp_path)

    async def load() -> None:
        engine = OpenVinoEngine(base, tmp_path)
        try:
            await engine.load(base)
        finally:
            await engine.close()

    with pytest.raises(EngineError, match="more than keys and values"):
        asyncio.run(load())
