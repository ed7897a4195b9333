"""The llama engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from tests.engines import reference
from tests.engines.conformance import (
    CODE,
    CONTEXT,
    EngineConformance,
    GuidedConformance,
    Harness,
    shown,
)
from tests.processes import is_alive

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import EngineError, Sampling, Token
from liveweights.engines.settings import EngineSettings
from liveweights.weights.checkpoint import Checkpoint

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def harness(
    base: Checkpoint, adapter: Checkpoint, tokenizer: Any, model_cache: Path
) -> Iterator[Harness]:
    with asyncio.Runner() as runner:
        settings = EngineSettings(context_length=CONTEXT, cache_mib=64)
        engine = LlamaEngine(base, model_cache, settings, tokenizer)
        runner.run(engine.load(base))
        yield Harness(runner, engine, base, adapter, tokenizer)
        runner.run(engine.close())


def kill(harness: Harness) -> int:
    assert isinstance(harness.engine, LlamaEngine)
    pid = harness.engine.process_id(harness.base.id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


class TestLlamaEngine(EngineConformance, GuidedConformance):
    def test_strangers_are_refused(self, harness: Harness) -> None:
        assert isinstance(harness.engine, LlamaEngine)
        address = harness.engine.address(harness.base.id)

        async def ask() -> int:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{address}/completion", json={"prompt": [1]}) as response,
            ):
                return response.status

        assert harness.run(ask()) == 401

    @pytest.mark.fault
    def test_a_killed_child_goes_unnoticed(self, harness: Harness) -> None:
        prompt = harness.ids(CODE)

        async def answer() -> list[Token]:
            tokens: list[Token] = []
            sampling = Sampling(max_tokens=60, temperature=0.8, seed=1)
            async for token in harness.engine.generate(harness.base.id, prompt, sampling):
                tokens.append(token)
                if len(tokens) == 20:
                    kill(harness)
            return tokens

        async def several() -> list[list[Token]]:
            others = (harness.collect(prompt, max_tokens=60, temperature=0.8) for _ in range(5))
            return await asyncio.gather(answer(), *others)

        for tokens in harness.run(several()):
            assert len(tokens) == 60 or tokens[-1].stop == "stop"
            assert shown(tokens) == harness.text([t.id for t in tokens])
            model = reference.read(harness.base.folder)
            assert harness.error(model, prompt, tokens) <= 1.5 * harness.engine.tolerance

    @pytest.mark.fault
    def test_a_child_killed_at_rest_is_started_again(self, harness: Harness) -> None:
        old = kill(harness)
        assert len(harness.answer(CODE, max_tokens=3)) == 3
        assert isinstance(harness.engine, LlamaEngine)
        assert harness.engine.process_id(harness.base.id) not in {old, None}

    @pytest.mark.fault
    def test_children_end_with_their_parent(self, base: Checkpoint, model_cache: Path) -> None:
        script = f"""
import asyncio
from pathlib import Path
from liveweights.weights.checkpoint import Checkpoint
from liveweights.engines.llama.engine import LlamaEngine

async def main():
    base = Checkpoint({base.id!r}, "base", Path({str(base.folder)!r}))
    engine = LlamaEngine(base, Path({str(model_cache)!r}))
    await engine.load(base)
    print(engine.process_id(base.id), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 60
        while is_alive(child):
            assert time.monotonic() < deadline, "the child outlives its parent"
            time.sleep(0.02)

    def test_weights_that_llama_cpp_refuses_end_in_an_error(
        self, base: Checkpoint, tokenizer: Any, tmp_path: Path
    ) -> None:
        folder = tmp_path / "gguf"
        folder.mkdir()
        (folder / f"{base.id}.q8_0.v1.gguf").write_bytes(b"GGUF, but not really")

        async def load() -> None:
            engine = LlamaEngine(base, tmp_path, EngineSettings(), tokenizer)
            await engine.load(base)

        with pytest.raises(EngineError, match="failed to load model"):
            asyncio.run(load())


@pytest.mark.parametrize("precision", ["f16", "q4_0"])
def test_precisions_keep_their_tolerance(
    precision: Any, base: Checkpoint, tokenizer: Any, model_cache: Path
) -> None:
    prompt = tokenizer.encode(CODE)

    async def answer() -> tuple[list[Token], float]:
        settings = EngineSettings(precision=precision, context_length=CONTEXT)
        engine = LlamaEngine(base, model_cache, settings, tokenizer)
        await engine.load(base)
        sampling = Sampling(max_tokens=48, temperature=0.8, seed=5)
        tokens = [token async for token in engine.generate(base.id, prompt, sampling)]
        await engine.close()
        return tokens, engine.tolerance

    tokens, tolerance = asyncio.run(answer())
    model = reference.read(base.folder)
    expected = reference.raw_logprobs(model, prompt, [t.id for t in tokens])
    got = np.array([t.raw_logprob for t in tokens])
    assert float(np.mean(np.abs(got - expected))) <= tolerance
