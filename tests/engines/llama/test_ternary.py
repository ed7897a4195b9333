"""Ternary weights as llama.cpp computes with them, beside the ternary engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engines import reference
from tests.weights.ternary.models import write_ternary

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Sampling
from liveweights.engines.settings import EngineSettings
from liveweights.engines.ternary.engine import TernaryEngine
from liveweights.weights.models import find, load_tokenizer
from liveweights.weights.ternary.blocks import BlockType
from liveweights.weights.ternary.folder import read_matrices
from liveweights.weights.ternary.layout import Group
from liveweights.weights.ternary.writing import write_gguf

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")
pytestmark = pytest.mark.model

TOLERANCE = 0.1
"""Nats per token, in the mean, from the same weights with activations in float32: both round
activations to bytes, llama.cpp with a step for each 32 or 256 values, the engine with one for each
token. Of weights that stand in other places it would be nats."""


@pytest.mark.parametrize(
    ("family", "group", "kind"),
    [("llama", 256, "TQ2_0"), ("qwen3", 256, "TQ1_0"), ("llama", 64, "Q2_0"),
     ("qwen3", 128, "Q2_0")],
)  # fmt: skip
def test_llama_cpp_gives_the_same_probabilities(
    family: str, group: Group, kind: BlockType, tmp_path: Path
) -> None:
    folder = write_ternary(tmp_path, family, group, embeddings=kind == "TQ2_0")
    ternary = find(str(folder), tmp_path / "cache")
    file = tmp_path / "a.gguf"
    write_gguf(ternary, file, kind, lambda what, done, total: None)
    packed = find(str(file), tmp_path / "cache")
    tokenizer: Any = load_tokenizer(ternary)
    prompt = tokenizer.encode("def add(a, b):\n")

    async def ask() -> tuple[list[float], list[float], list[int]]:
        settings = EngineSettings(context_length=256, slots=1, cache_mib=0)
        llama = LlamaEngine(packed, tmp_path / "cache", settings, load_tokenizer(packed))
        engine = TernaryEngine(ternary, tmp_path / "cache")
        try:
            await llama.load(packed)
            await engine.load(ternary)
            sampling = Sampling(max_tokens=48, temperature=1.0, seed=1)
            tokens = [token async for token in llama.generate(packed.id, prompt, sampling)]
            ids = [token.id for token in tokens]
            scored = await engine.score(ternary.id, prompt, ids)
            return [t.raw_logprob for t in tokens], scored, ids
        finally:
            await llama.close()
            await engine.close()

    theirs, ours, ids = asyncio.run(ask())
    assert len(ids) > 8
    exact = np.array(reference.raw_logprobs(unpack(folder, tmp_path / "dense"), prompt, ids))
    assert np.abs(np.array(theirs) - exact).mean() < TOLERANCE
    assert np.abs(np.array(ours) - exact).mean() < TOLERANCE
    assert np.abs(np.array(theirs) - np.array(ours)).mean() < 2 * TOLERANCE


def unpack(folder: Path, dense: Path) -> Any:
    """The model that was rounded, with the values that it was rounded to."""
    model: Any = reference.read(dense)
    with torch.no_grad():
        for name, matrix in read_matrices(folder).items():
            model.get_submodule(name).weight.copy_(torch.from_numpy(matrix.dequantise()))
    return model
