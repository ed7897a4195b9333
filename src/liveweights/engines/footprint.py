"""How much memory a checkpoint will take, before it has been loaded once."""

from __future__ import annotations

from liveweights.engines.context import cache_bytes
from liveweights.engines.settings import EngineSettings
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files
from liveweights.weights.models import parameters, read_json
from liveweights.weights.tensors import read_shapes
from liveweights.weights.ternary.sizes import memory_bytes

BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Of a weight: llama.cpp keeps a scale (two bytes) for every 32 that it quantises."""


def expect_bytes(checkpoint: Checkpoint, base: Checkpoint | None, settings: EngineSettings) -> int:
    """About as many bytes as an engine of those settings takes for ``checkpoint``, an adapter of
    ``base`` if there is one. Raises OSError, BrokenFile.

    Torch keeps one copy of a base for all its adapters; the others have one for each, and
    llama.cpp's processes also room for the keys and values of all slots. GGUF files it maps as they
    are.
    """
    own = parameters(checkpoint.folder)
    if settings.kind == "ternary":
        width = 2 if settings.dtype == "bfloat16" else 4
        shapes = read_shapes(checkpoint.folder)
        # A GPU's kernels have the ternary weights once more, packed in their own way.
        packed = settings.device.startswith("cuda") and width == 2
        return memory_bytes(shapes.items(), width) + packed * memory_bytes(shapes.items(), 0)
    if settings.kind == "torch":
        return own * (2 if settings.dtype == "bfloat16" else 4)
    whole = parameters(base.folder) if base else own
    if settings.kind == "openvino":
        return whole * (2 if settings.dtype == "bfloat16" else 4)
    folder = (base or checkpoint).folder
    weight = BYTES.get(settings.precision, BYTES["f16"])  # "auto" is chosen at the first load
    mapped = sum(file.stat().st_size for file in source_files(folder))
    config = read_json(folder / "config.json")
    rows = settings.slots * settings.context_length * cache_bytes(config, 2)
    return (mapped or int(whole * weight)) + (own * 2 if base else 0) + rows
