"""How much memory a checkpoint is expected to take, and what it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.learn.families import make_family
from tests.weights.gguf_files import write_gguf
from tests.weights.ternary.models import write_ternary

from liveweights.engines.context import cache_bytes
from liveweights.engines.footprint import expect_bytes
from liveweights.engines.protocol import Measured
from liveweights.engines.settings import EngineSettings
from liveweights.engines.ternary.engine import TernaryEngine
from liveweights.engines.torch.engine import TorchEngine
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, parameters, read_json
from liveweights.weights.ternary.folder import read_matrices
from liveweights.weights.ternary.layout import Packing


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("footprint")
    return find(str(make_family("qwen3", folder / "tiny")), folder / "cache")


def test_torch_takes_what_was_expected_and_nothing_once_unloaded(
    tiny: Checkpoint, tmp_path: Path
) -> None:
    settings = EngineSettings(kind="torch", context_length=64, threads=1)

    async def go() -> None:
        engine = TorchEngine(tiny, tmp_path, settings)
        assert isinstance(engine, Measured)
        assert engine.memory() == 0
        await engine.load(tiny)
        expected = expect_bytes(tiny, None, settings)
        assert expected <= engine.memory() <= 1.05 * expected
        await engine.unload(tiny.id)
        assert engine.memory() == 0
        await engine.close()

    asyncio.run(go())


def test_llama_has_room_for_all_slots_and_each_adapter_a_base_of_its_own(tiny: Checkpoint) -> None:
    count = parameters(tiny.folder)
    plain: dict[str, Any] = {"context_length": 64, "slots": 2}
    rows = 128 * cache_bytes(read_json(tiny.folder / "config.json"), 2)
    for precision, width in (("f32", 4.0), ("f16", 2.0), ("auto", 2.0), ("q8_0", 34 / 32)):
        settings = EngineSettings(precision=precision, **plain)  # type: ignore[arg-type]
        assert expect_bytes(tiny, None, settings) == int(count * width) + rows
        # Whatever is of the adapter's own comes on top.
        assert expect_bytes(tiny, tiny, settings) == int(count * width) + rows + 2 * count
    half = EngineSettings(kind="torch", dtype="bfloat16", **plain)
    assert expect_bytes(tiny, None, half) == 2 * count
    merged = EngineSettings(kind="openvino", **plain)
    assert expect_bytes(tiny, tiny, merged) == 4 * count


def test_gguf_files_are_mapped_as_they_are(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", kind="q8_0")
    base = find(str(file), tmp_path / "cache")
    rows = 64 * cache_bytes(read_json(base.folder / "config.json"), 2)
    settings = EngineSettings(context_length=64, slots=1)
    assert expect_bytes(base, None, settings) == file.stat().st_size + rows


@pytest.mark.parametrize("packing", ["2bit", "base3"])
def test_ternary_weights_take_two_bits_however_they_are_stored(
    packing: Packing, tmp_path: Path
) -> None:
    pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")
    base = find(str(write_ternary(tmp_path, "llama", 64, packing)), tmp_path / "cache")
    settings = EngineSettings(kind="ternary", context_length=64, threads=1)

    async def measure() -> int:
        engine = TernaryEngine(base, tmp_path, settings)
        await engine.load(base)
        size = engine.memory()
        await engine.close()
        return size

    expected = expect_bytes(base, None, settings)
    assert expected <= asyncio.run(measure()) <= 1.05 * expected


def test_a_gpu_has_ternary_weights_twice(tmp_path: Path) -> None:
    base = find(str(write_ternary(tmp_path, "llama", 64)), tmp_path / "cache")
    settings = EngineSettings(kind="ternary", context_length=64, dtype="bfloat16")
    there = expect_bytes(base, None, settings)
    packed = sum(
        one.codes.nbytes + one.scales.nbytes for one in read_matrices(base.folder).values()
    )
    assert expect_bytes(base, None, structs.replace(settings, device="cuda")) == there + packed
