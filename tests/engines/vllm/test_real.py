"""The vLLM engine on a real vLLM; `make test-vllm` installs one and says where it is."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.engines import reference
from tests.engines.conformance import (
    CODE,
    CONTEXT,
    EngineConformance,
    ExpertsConformance,
    Harness,
)
from tests.learn.families import make_config, write_family

from liveweights.engines.protocol import Sampling, Token
from liveweights.engines.settings import EngineSettings, VllmSettings
from liveweights.engines.vllm.engine import VllmEngine
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, load_tokenizer

PYTHON = os.environ.get("LIVEWEIGHTS_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not PYTHON, reason="needs a vLLM: run `make test-vllm`"),
]


@pytest.fixture(scope="module")
def harness(base: Checkpoint, adapter: Checkpoint, tokenizer: Any) -> Iterator[Harness]:
    with asyncio.Runner() as runner:
        settings = EngineSettings(kind="vllm", context_length=CONTEXT, slots=8)
        vllm = VllmSettings(python=PYTHON, adapters=2, kv_cache_gib=1)

        async def make() -> VllmEngine:
            engine = VllmEngine(base, settings, vllm, tokenizer)
            await engine.load(base)
            return engine

        engine = runner.run(make())
        yield Harness(runner, engine, base, adapter, tokenizer)
        runner.run(engine.close())


async def running(engine: VllmEngine) -> int:
    """How many answers the server itself says that it computes."""
    async with engine.replicas[0].request("GET", "/metrics") as response:
        text = await response.text()
    found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)", text, re.M)
    assert found
    return int(sum(float(value) for value in found))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """A tiny random one, of sizes that vLLM's kernels take."""
    folder = tmp_path_factory.mktemp("mixture")
    config = make_config("mixtral")
    config.hidden_size, config.max_position_embeddings = 128, CONTEXT
    base = find(str(write_family(config, folder / "base")), folder / "cache")
    projections = {"target_modules": r".*\.[qkvo]_proj"}
    adapter = reference.make_adapter(base, folder / "adapter", std=0.3, **projections)
    with asyncio.Runner() as runner:
        settings = EngineSettings(kind="vllm", context_length=CONTEXT, slots=8)
        engine = VllmEngine(base, settings, VllmSettings(python=PYTHON, kv_cache_gib=1))
        runner.run(engine.load(base))
        yield Harness(runner, engine, base, adapter, load_tokenizer(base))
        runner.run(engine.close())


class TestVllmExperts(ExpertsConformance):
    @pytest.fixture(autouse=True)
    def _can_say_them(self, mixture: Harness) -> None:
        """A build for CPUs starts, but without this; with LoRA it computes no mixture either."""
        assert isinstance(mixture.engine, VllmEngine)
        process = mixture.engine.replicas[0].process
        assert process is not None
        assert mixture.base.id in mixture.engine.resident()
        if not process.says_experts:
            pytest.skip("this build of vLLM does not say which experts it used")


class TestVllmEngine(EngineConformance):
    def test_leaving_frees_the_server(self, harness: Harness) -> None:
        engine = harness.engine
        assert isinstance(engine, VllmEngine)

        async def leave() -> None:
            sampling = Sampling(max_tokens=450, temperature=1.0)
            stream = engine.generate(harness.base.id, harness.ids(CODE), sampling)
            await anext(stream)
            await stream.aclose()
            async with asyncio.timeout(30):
                while await running(engine):
                    await asyncio.sleep(0.05)

        harness.run(leave())

    @pytest.mark.fault
    def test_a_killed_server_comes_back_with_its_adapters(self, harness: Harness) -> None:
        engine, prompt, adapter = harness.engine, harness.ids(CODE), harness.adapter
        assert isinstance(engine, VllmEngine)

        async def kill_it() -> list[Token]:
            await engine.load(adapter, harness.base)
            process = engine.replicas[0].process
            assert process is not None
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            while engine.resident():
                await asyncio.sleep(0.01)
            while adapter.id not in engine.resident():
                await asyncio.sleep(0.1)
            how: dict[str, Any] = {"max_tokens": 12, "temperature": 0.0}
            tokens = await harness.collect(prompt, adapter.id, **how)
            await engine.unload(adapter.id)
            return tokens

        tokens = harness.run(kill_it())
        model = reference.read_adapted(harness.base.folder, adapter.folder)
        assert harness.error(model, prompt, tokens) <= engine.tolerance
