"""Making a ternary checkpoint of a dense one, without training.

Each layer's matrices are rounded in the order in which the layer computes (attention's inputs, its
output, the MLP's inputs, its output), on the inputs that the rounded layers before them give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveweights.ternary.calibration import Walk, decoder_layers, perplexity
from liveweights.ternary.layers import is_plain
from liveweights.ternary.rounding import output_loss, round_matrix, round_plainly
from liveweights.weights.content import weight_files
from liveweights.weights.loading import load_causal
from liveweights.weights.ternary.folder import write_folder
from liveweights.weights.ternary.layout import Group, Layout, Packing, to_tensors
from liveweights.weights.ternary.matrix import TernaryMatrix
from liveweights.weights.ternary.writing import Tell

_STAGES = (("q_proj", "k_proj", "v_proj", "qkv_proj"), ("o_proj",),
           ("gate_proj", "up_proj", "gate_up_proj"), ("down_proj",))  # fmt: skip
"""Names of linear layers that see the same inputs, in the order in which a layer computes."""
_ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})


class CannotConvert(ValueError):
    """No ternary checkpoint is made of this model; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``embeddings``: whether they and the output layer are ternary too, or kept in 16 bits.
    ``feedback``: whether errors are fed back; without, each group is rounded by itself."""

    group: Group = 128
    packing: Packing = "2bit"
    embeddings: bool = False
    feedback: bool = True


@dataclass(frozen=True, slots=True)
class MatrixLoss:
    """The squared error of a matrix's outputs on the texts, as a share of their square. None of an
    embedding, whose rows are looked up."""

    name: str
    loss: float | None


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a model: losses in order, the perplexity on rows of text that nothing was
    rounded on, before and after, and bytes of weights before and after."""

    matrices: tuple[MatrixLoss, ...]
    dense_perplexity: float
    ternary_perplexity: float
    dense_bytes: int
    ternary_bytes: int


def convert(source: Path, target: Path, ids_BT: Tensor, options: Options, tell: Tell) -> Conversion:
    """Write the folder ``target``, which must not exist, of the checkpoint in ``source``.

    The last eighth of the rows ``ids_BT``, one at least, is what perplexity is measured on; on the
    others it is calibrated. The dense model is held in float32. Raises CannotConvert,
    CannotCalibrate, NotTernary, OSError.
    """
    if target.exists():
        raise CannotConvert(f"{target} is there already")
    model: Any = load_causal(source, dtype=torch.float32, attn_implementation="sdpa")
    model.eval().requires_grad_(False)
    kept = _unfit(model, options)
    held_back = max(1, len(ids_BT) // 8)
    before = perplexity(model, ids_BT[-held_back:])
    made: dict[str, TernaryMatrix] = {}
    losses = [
        *_round_layers(model, ids_BT[:-held_back], options, kept, made, tell),
        *_round_embeddings(model, options, kept, made),
    ]
    after = perplexity(model, ids_BT[-held_back:])
    _write(model, source, target, made, options)
    sizes = [sum(f.stat().st_size for f in weight_files(place)) for place in (source, target)]
    return Conversion(tuple(losses), before, after, sizes[0], sizes[1])


def _unfit(model: Any, options: Options) -> set[str]:
    """Linear layers and embeddings that stay as they are. Raises CannotConvert where it is all."""
    head = model.get_output_embeddings()
    prefix, _ = decoder_layers(model)
    kept: set[str] = set()
    rounded = 0
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            continue
        inside = name.startswith(f"{prefix}.")
        if inside:
            wanted = name.rpartition(".")[2] not in _ROUTERS
        else:
            wanted = options.embeddings and (
                module is head or module is model.get_input_embeddings()
            )
        if not wanted or not is_plain(module) or module.weight.shape[1] % options.group:
            kept.add(name)
        else:
            rounded += inside
    if not rounded:
        raise CannotConvert(
            f"no linear layer of {type(model).__name__} has rows that divide by {options.group}: "
            "take a smaller group, 64 at least"
        )
    return kept


def _round_layers(
    model: Any,
    ids_BT: Tensor,
    options: Options,
    kept: set[str],
    made: dict[str, TernaryMatrix],
    tell: Tell,
) -> Iterator[MatrixLoss]:
    prefix, layers = decoder_layers(model)
    tell("reading the texts", 0, len(layers))
    walk = Walk(model, ids_BT)
    for place, layer in enumerate(layers):
        tell(f"layer {place + 1} of {len(layers)}", place, len(layers))
        whole = f"{prefix}.{place}."
        names = [
            name
            for name, module in layer.named_modules()
            if isinstance(module, torch.nn.Linear) and whole + name not in kept
        ]
        for stage in stages(names):
            for name, gram_KK in walk.grams(place, stage).items():
                module: Any = layer.get_submodule(name)
                if options.feedback:
                    rounded = round_matrix(module.weight, gram_KK, options.group)
                    matrix, loss = rounded.matrix, rounded.loss
                else:
                    matrix = round_plainly(module.weight, options.group)
                    loss = output_loss(module.weight, matrix, gram_KK)
                module.weight.copy_(torch.from_numpy(matrix.dequantise()))
                made[whole + name] = matrix
                yield MatrixLoss(whole + name, loss)
        walk.step(place)
    tell("measuring", len(layers), len(layers))


def stages(names: list[str]) -> list[list[str]]:
    """A layer's linear layers, those together that see the same inputs; others come last, each for
    itself."""
    left = list(names)
    ordered: list[list[str]] = []
    for stage in _STAGES:
        here = [name for name in left if name.rpartition(".")[2] in stage]
        if here:
            ordered.append(here)
            left = [name for name in left if name not in here]
    return ordered + [[name] for name in left]


def _round_embeddings(
    model: Any, options: Options, kept: set[str], made: dict[str, TernaryMatrix]
) -> Iterator[MatrixLoss]:
    both = model.get_input_embeddings(), model.get_output_embeddings()
    tables = [(name, m) for name, m in model.named_modules() if any(m is one for one in both)]
    for name, module in tables:
        if name not in kept:
            made[name] = round_plainly(module.weight, options.group)
            # Of its own: what it was one with may stay as it is.
            values = torch.from_numpy(made[name].dequantise())
            module.weight = torch.nn.Parameter(values, requires_grad=False)
            yield MatrixLoss(name, None)


def _write(
    model: Any, source: Path, target: Path, made: dict[str, TernaryMatrix], options: Options
) -> None:
    """The folder: tensors, the config that says how they are packed, all else as it was."""
    others = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding) and name not in made
    }
    layout = Layout(
        group_size=options.group,
        packing=options.packing,
        modules_to_not_convert=tuple(sorted(others)),
    )
    state: dict[str, Tensor] = model.state_dict()
    both = model.get_input_embeddings(), model.get_output_embeddings()
    head = next((f"{name}.weight" for name, m in model.named_modules() if m is both[1]), None)
    # Ternary ones are stored apart.
    rounded = any(m is one for one in both for name, m in model.named_modules() if name in made)
    tied = bool(model.config.tie_word_embeddings) and not rounded
    tensors: dict[str, NDArray[Any]] = {}
    for name, weight in state.items():
        owner, _, leaf = name.rpartition(".")
        if owner in made and leaf == "weight":
            packed = to_tensors(made[owner], options.packing)
            tensors.update({f"{owner}.{part}": array for part, array in packed.items()})
        elif not (tied and name == head):
            tensors[name] = to_half(weight)
    write_folder(source, target, tensors, layout, tied=tied)


def to_half(weight: Tensor) -> NDArray[np.float16] | NDArray[np.float32]:
    """In 16 bits; in 32 where a value is beyond what 16 hold."""
    values: NDArray[np.float32] = weight.float().numpy()
    largest = float(np.abs(values).max(initial=0.0))
    return values.astype(np.float16) if largest < np.finfo(np.float16).max else values
