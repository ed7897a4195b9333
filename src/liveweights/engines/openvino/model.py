"""An OpenVINO model with paged attention, compiled for the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from liveweights.engines.protocol import EngineError
from liveweights.machine import cores

_HOPS = 8
"""Operations after the output layer's product, at most."""


def library() -> Any:
    """The ``openvino`` package. Raises EngineError where it is not installed."""
    try:
        return import_module("openvino")
    except ImportError as error:
        raise EngineError(
            "the openvino engine needs a package: pip install 'liveweights[openvino]'"
        ) from error


def transformations() -> Any:
    """OpenVINO's passes over whole models, which it has no public names for."""
    return import_module("openvino._offline_transformations")


def fast_dtype() -> str:
    """bfloat16 where this CPU multiplies it faster than float32, else float32.

    With one usable core it is float32: there OpenVINO 2026.4 dies of SIGFPE as it compiles a
    model for bfloat16.
    """
    capable = "BF16" in library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if capable and cores() > 1 else "float32"


@dataclass(frozen=True, slots=True)
class Part:
    """One sequence's share of a pass: tokens that follow ``past`` others, the blocks of the cache
    that hold them all, and after how many of the tokens, the last ones, logits are wanted."""

    ids: Sequence[int]
    past: int
    blocks: Sequence[int]
    wanted: int = 1


class PagedModel:
    """A compiled model and its keys and values, in blocks of ``block`` tokens.

    ``dtype`` is float32 or bfloat16: of the weights, the products and the cache. ``model`` (see
    ``convert``) is transformed and belongs to this object afterwards. Raises EngineError
    for a model whose attention OpenVINO does not recognise.
    """

    def __init__(self, model: Any, dtype: str, threads: int) -> None:
        ov = library()
        self._ov = ov
        try:
            transformations().paged_attention_transformation(model)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO does not recognise its attention: {error}") from error
        _gather_wanted(model)
        kind = ov.Type.bf16 if dtype == "bfloat16" else ov.Type.f32
        options = {
            "INFERENCE_PRECISION_HINT": kind,
            "KV_CACHE_PRECISION": kind,
            # See ``fast_dtype``.
            "INFERENCE_NUM_THREADS": max(threads, 2) if dtype == "bfloat16" else threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = ov.Core().compile_model(model, "CPU", options)
        self._caches = {
            port.any_name: [int(d.get_length()) for d in list(port.partial_shape)[1:]]
            for port in compiled.inputs
            if port.any_name.startswith(("key_cache.", "value_cache."))
        }
        if not self._caches:
            raise EngineError("OpenVINO does not recognise its attention")
        self._kind = kind
        self._request = compiled.create_infer_request()
        self.block = next(iter(self._caches.values()))[1]
        elements = sum(int(np.prod(shape)) for shape in self._caches.values())
        self.block_bytes = elements * int(kind.size)
        self.blocks = 0

    def allocate(self, blocks: int) -> None:
        """Make room for ``blocks`` blocks; memory is taken as they are written."""
        self.blocks = blocks
        for name, shape in self._caches.items():
            tensor = self._ov.Tensor(self._kind, self._ov.Shape([blocks, *shape]))
            self._request.set_tensor(name, tensor)

    def forward(self, parts: Sequence[Part]) -> torch.Tensor:
        """Logits [N, V] of the tokens that are wanted, part after part; valid until the next
        pass."""
        counts = np.array([len(part.ids) for part in parts])
        past = np.array([part.past for part in parts], dtype=np.int32)
        ends = np.cumsum(counts)
        blocks = [part.blocks[: -(-(part.past + len(part.ids)) // self.block)] for part in parts]
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": _joined([part.ids for part in parts], np.int64),
            "position_ids": _joined([range(p.past, p.past + len(p.ids)) for p in parts], np.int64),
            "past_lens": past,
            "subsequence_begins": np.array([0, *ends], dtype=np.int32),
            "block_indices": _joined(blocks, np.int32),
            "block_indices_begins": np.cumsum([0, *map(len, blocks)]).astype(np.int32),
            "max_context_len": np.array((past + counts).max(), dtype=np.int32),
            "wanted": _joined(
                [range(end - p.wanted, end) for p, end in zip(parts, ends, strict=True)], np.int64
            ),
        }
        for name, values in inputs.items():
            self._request.set_tensor(name, self._ov.Tensor(values))
        self._request.infer()
        logits = torch.from_numpy(self._request.get_tensor("logits").data)
        return logits.reshape(-1, logits.shape[-1])


def _joined(pieces: Sequence[Sequence[int]], dtype: Any) -> NDArray[Any]:
    return np.fromiter((value for piece in pieces for value in piece), dtype=dtype)


def _gather_wanted(model: Any) -> None:
    """Let the output layer see only the tokens that the input ``wanted`` names."""
    ov = library()
    node = model.output("logits").get_node().input_value(0).get_node()
    for _ in range(_HOPS):
        if node.get_type_name() == "MatMul":
            break
        node = node.input_value(0).get_node()
    else:
        raise EngineError("its output layer was not found")
    wanted: Any = ov.opset13.parameter([-1], ov.Type.i64, name="wanted")
    wanted.output(0).get_tensor().set_names({"wanted"})
    kept: Any = ov.opset13.gather(node.input_value(0), wanted, ov.opset13.constant(0))
    node.input(0).replace_source_output(kept.output(0))
    model.add_parameters([wanted])
    model.validate_nodes_and_infer_types()
