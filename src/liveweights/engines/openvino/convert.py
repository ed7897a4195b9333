"""Making the OpenVINO model that is served from a Transformers model.

The model is traced with its keys and values as inputs and outputs, which are then made OpenVINO
variables: the form in which OpenVINO's own transformation finds them (``model``).
Shapes: L layers, H key-value heads, D head_dim.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from liveweights.engines.openvino.model import PagedModel, Part, library, transformations
from liveweights.engines.protocol import EngineError
from liveweights.engines.torch.batch import is_plain
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.loading import load_adapter, load_causal
from liveweights.weights.staging import exclusive, publish, staged

LAYOUT = 1
"""Raised when the conversion changes, so that an older cache is not taken for the new one."""
_ALLOWED = 0.01
"""Nats by which a converted model, in float32, may differ from what it was converted from."""
_PREFIX = "self.model."
"""What the weights' names begin with in the converted model."""


def to_openvino(checkpoint: Checkpoint, cache: Path) -> Path:
    """``model.xml`` of whole weights, converted into ``cache`` at first use.

    Raises EngineError where OpenVINO cannot serve the architecture.
    """
    target = cache / "openvino" / f"{checkpoint.id}.v{LAYOUT}"
    if not target.is_dir():
        with exclusive(target):
            if not target.is_dir():
                with staged(target) as folder:
                    made = folder / "model"
                    made.mkdir()
                    plain = read(checkpoint.folder)
                    model = convert(plain, checkpoint.id)
                    library().save_model(model, made / "model.xml", compress_to_fp16=False)
                    error = difference(PagedModel(model, "float32", 1), plain)
                    if not error < _ALLOWED:
                        why = f"OpenVINO's log-probabilities are off by {error:.2g} nats"
                        raise EngineError(_refusal(checkpoint.id, why))
                    publish(made, target)
    return target / "model.xml"


def read(folder: Path) -> Any:
    """The Transformers model in ``folder``, in float32."""
    model: Any = load_causal(folder, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval().requires_grad_(False)


def adapt(base: Checkpoint, adapter: Checkpoint, cache: Path) -> Any:
    """The OpenVINO model of ``base`` with a PEFT adapter merged into its weights.

    Where the adapter changes nothing but matrices, the converted base gets the new ones.
    """
    model = library().Core().read_model(to_openvino(base, cache))
    constants = {
        node.get_friendly_name().removeprefix(_PREFIX): node
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
    }
    plain = read(base.folder)
    names = [name for name, _ in plain.named_parameters()]
    rest = {n: w.clone() for n, w in plain.named_parameters() if n not in constants}
    peft: Any = load_adapter(plain, adapter.folder)
    merged = peft.merge_and_unload().eval().requires_grad_(False)
    after: dict[str, torch.Tensor] = dict(merged.named_parameters())
    if names != list(after) or any(not torch.equal(after[n], w) for n, w in rest.items()):
        return convert(merged, adapter.id)
    for name in set(names) - set(rest):
        if not _replace(constants[name], after[name]):
            return convert(merged, adapter.id)
    return model


def _replace(constant: Any, weight: torch.Tensor) -> bool:
    """Put ``weight`` in the place of a model's own; whether it fits."""
    if tuple(constant.get_output_shape(0)) != tuple(weight.shape):
        return False
    if not np.array_equal(constant.data, weight.numpy()):
        new = library().op.Constant(weight.numpy())
        for user in constant.output(0).get_target_inputs():
            user.replace_source_output(new.output(0))
    return True


class _Traced(torch.nn.Module):
    """``model`` as a function of tensors only."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        *past: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        layers: list[Any] = []
        for place in range(0, len(past), 2):
            layer = DynamicLayer()
            layer.keys, layer.values = past[place], past[place + 1]
            layer.is_initialized = True
            layers.append(layer)
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=Cache(layers=layers),
            use_cache=True,
        )
        present = [tensor for layer in layers for tensor in (layer.keys, layer.values)]
        return (out.logits, *present)


def convert(model: Any, name: str) -> Any:
    """The stateful OpenVINO model of a Transformers model. Raises EngineError."""
    ov = library()
    cache = DynamicCache(config=model.config)
    if not is_plain(cache):
        raise EngineError(_refusal(name, "its cache is more than keys and values per token"))
    past, count = _shapes(model), 3
    example = (
        torch.zeros(2, count, dtype=torch.long),
        torch.zeros(2, 1, count, 2 * count),
        torch.arange(count, 2 * count).expand(2, count),
        *(torch.zeros(2, heads, count, size) for heads, size in past),
    )
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, about Python values of our own
            converted = ov.convert_model(_Traced(model), example_input=example)
        _name(converted, past)
        _make_stateful(converted, past)
    except Exception as error:  # whatever the tracer and the translation find
        first = str(error).strip().partition("\n")[0]
        raise EngineError(_refusal(name, first)) from error
    return converted


@torch.inference_mode()
def difference(paged: PagedModel, model: Any) -> float:
    """The largest between the two models' log-probabilities, after each of some random tokens
    that the first one computes in two passes."""
    count = 2 * paged.block + 3
    ids = np.random.default_rng(0).integers(model.config.vocab_size, size=count).tolist()
    blocks = [2, 0, 1]
    paged.allocate(len(blocks))
    halves = [(ids[: paged.block + 5], 0), (ids[paged.block + 5 :], paged.block + 5)]
    logits = [paged.forward([Part(part, past, blocks, len(part))]).clone() for part, past in halves]
    expected_TV = model(input_ids=torch.tensor([ids])).logits[0]
    got_TV = torch.cat(logits)
    return float((got_TV.log_softmax(-1) - expected_TV.log_softmax(-1)).abs().max())


def _refusal(name: str, why: str) -> str:
    return (
        f"{name} cannot be served by the openvino engine: {why}. "
        'Use the torch engine instead (engine.kind = "torch"), which takes any architecture.'
    )


def _shapes(model: Any) -> list[tuple[int, int]]:
    """(H, D) of the keys, then of the values, of each layer: what a pass leaves behind."""
    with torch.no_grad():
        out = model(input_ids=torch.zeros(1, 1, dtype=torch.long), use_cache=True)
    layers: Any = out.past_key_values.layers
    return [(t.shape[1], t.shape[3]) for layer in layers for t in (layer.keys, layer.values)]


def _name(model: Any, past: Sequence[tuple[int, int]]) -> None:
    """Names for inputs and outputs, and shapes that leave open what varies."""
    ov = library()
    names = ["input_ids", "attention_mask", "position_ids"]
    shapes: list[list[int]] = [[-1, -1], [-1, 1, -1, -1], [-1, -1]]
    for place, (heads, size) in enumerate(past):
        names.append(f"past.{place}")
        shapes.append([-1, heads, -1, size])
    for port, name, shape in zip(model.inputs, names, shapes, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(ov.PartialShape(shape))
    outputs = ["logits", *(f"present.{place}" for place in range(len(past)))]
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()


def _make_stateful(model: Any, past: Sequence[tuple[int, int]]) -> None:
    """Keys and values become variables, read through a choice of rows: a form that OpenVINO's
    paged attention transformation looks for."""
    ov = library()
    opset13 = ov.opset13
    rows: Any = opset13.parameter([-1], ov.Type.i32, name="beam_idx")
    rows.output(0).get_tensor().set_names({"beam_idx"})
    model.add_parameters([rows])
    for place in range(len(past)):
        port = model.input(f"past.{place}")
        users = port.get_target_inputs()
        gathered: Any = opset13.gather(port, rows, opset13.constant(0))
        for user in users:
            user.replace_source_output(gathered.output(0))
    pairs = {f"past.{place}": f"present.{place}" for place in range(len(past))}
    transformations().apply_make_stateful_transformation(model, pairs)
    reads = [node for node in model.get_ops() if node.get_type_name() == "ReadValue"]
    for node in reads:
        _, heads, _, size = (int(d.min_length) for d in node.get_output_partial_shape(0))
        shape = opset13.constant(np.array([1, heads, 0, size]))
        zero = opset13.constant(0.0, dtype=ov.Type.f32)
        node.set_arguments([opset13.broadcast(zero, shape)])
    model.validate_nodes_and_infer_types()
