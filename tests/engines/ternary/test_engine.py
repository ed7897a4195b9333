"""The ternary engine, on the packaged model with some of its matrices rounded.

Of one whose all are, nothing would be left that the conformance suite could ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.engines import reference
from tests.engines.conformance import CONTEXT, EngineConformance, GuidedConformance, Harness
from tests.learn.families import make_config, write_family

from liveweights.engines.protocol import EngineError
from liveweights.engines.settings import EngineSettings
from liveweights.engines.ternary.engine import TernaryEngine
from liveweights.ternary.rounding import round_plainly
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find
from liveweights.weights.ternary.folder import write_folder
from liveweights.weights.ternary.layout import Layout, to_tensors

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")

ROUNDED = ("layers.14.self_attn.v_proj", "layers.20.self_attn.v_proj", "layers.17.mlp.up_proj")


@dataclass(frozen=True)
class Twins:
    """The same weights, packed and as they are."""

    packed: Path
    dense: Path


def make_twins(base: Checkpoint, folder: Path) -> Twins:
    """Of the packaged model, with ``ROUNDED`` ternary."""
    [file] = base.folder.glob("*.safetensors")
    dense = load_file(file)
    packed: dict[str, Any] = {}
    linear = {name.removesuffix(".weight") for name, w in dense.items() if w.ndim == 2}
    for name, weight in list(dense.items()):
        owner = name.removesuffix(".weight")
        if not owner.endswith(ROUNDED):
            packed[name] = weight
            continue
        matrix = round_plainly(torch.from_numpy(weight), 64)
        dense[name] = matrix.dequantise()
        packed |= {f"{owner}.{leaf}": a for leaf, a in to_tensors(matrix, "base3").items()}
    kept = {owner for owner in linear | {"lm_head"} if not owner.endswith(ROUNDED)}
    layout = Layout(group_size=64, packing="base3", modules_to_not_convert=tuple(sorted(kept)))
    write_folder(base.folder, folder / "packed", packed, layout, tied=True)
    twin = folder / "dense"
    twin.mkdir()
    for other in base.folder.iterdir():
        if other != file and other.is_file():
            (twin / other.name).write_bytes(other.read_bytes())
    save_file(dense, twin / "model.safetensors", metadata={"format": "pt"})
    return Twins(folder / "packed", twin)


@pytest.fixture(scope="module")
def harness(
    base: Checkpoint, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("ternary")
    twins = make_twins(base, folder)
    dense = find(str(twins.dense), folder / "cache")
    ternary = find(str(twins.packed), folder / "cache")
    adapter = reference.make_adapter(dense, folder / "adapter")
    with asyncio.Runner() as runner:
        settings = EngineSettings(kind="ternary", context_length=CONTEXT)
        engine = TernaryEngine(ternary, folder, settings, tokenizer)
        runner.run(engine.load(ternary))
        # What the suite reads of the base is the same weights as Transformers has them.
        yield TwinHarness(runner, engine, ternary, adapter, tokenizer, dense)
        runner.run(engine.close())


@dataclass
class TwinHarness(Harness):
    dense: Checkpoint


@pytest.fixture(autouse=True)
def read_twin(harness: TwinHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reference.read

    def read_dense(folder: Path) -> Any:
        return read(harness.dense.folder if folder == harness.base.folder else folder)

    monkeypatch.setattr(reference, "read", read_dense)


class TestTernaryEngine(EngineConformance, GuidedConformance):
    def test_adapters_share_the_base(self, harness: Harness) -> None:
        engine = harness.engine
        before = engine.memory()
        harness.run(engine.load(harness.adapter, harness.base))
        size = sum(f.stat().st_size for f in harness.adapter.folder.glob("*.safetensors"))
        assert engine.memory() - before == pytest.approx(size, rel=0.1)
        harness.run(engine.unload(harness.adapter.id))


def test_a_dense_model_is_refused(tmp_path: Path) -> None:
    base = find(str(write_family(make_config("llama"), tmp_path / "model")), tmp_path)

    async def load() -> None:
        engine = TernaryEngine(base, tmp_path)
        try:
            await engine.load(base)
        finally:
            await engine.close()

    with pytest.raises(EngineError, match="no ternary weights"):
        asyncio.run(load())
