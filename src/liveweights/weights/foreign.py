"""Adapters that somebody else made: looked at before they are taken in.

Nothing in them is run: pickles are refused, and only the adapter's tensors and its configuration
are copied.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from liveweights.weights.content import source_files
from liveweights.weights.expected_factors import BrokenConfig, expect_factors
from liveweights.weights.gguf_tensors import read_linear_shapes
from liveweights.weights.models import LARGEST_CONFIG, read_json
from liveweights.weights.tensors import open_tensors, read_shapes
from liveweights.weights.ternary.layout import dense_shapes, read_layout

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
_CODELESS = {"auto_mapping": None, "megatron_config": None}
"""What would have PEFT import modules that a configuration names."""
_TURNED = frozenset({"gpt2", "openai-gpt"})
"""Families whose layers (Conv1D) have their weights turned round."""
_PREFIX = "base_model.model."
_FACTOR = re.compile(re.escape(_PREFIX) + r"(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")


class ForeignError(ValueError):
    """Weights of others that cannot be taken in; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An adapter that fits: how many modules it changes, its largest rank, and the base that its
    configuration names, which anybody may write there."""

    modules: int
    rank: int
    names_base: str | None


def check_adapter(folder: Path, base: Path, base_id: str) -> Foreign:
    """That a PEFT folder holds a LoRA adapter on the weights in ``base`` that changes something.

    An adapter of another service of this kind says by content which base it belongs to; of any
    other, names and shapes of all its modules must be those of the base. The tensors must be those
    that PEFT makes of the configuration, which it would leave out or fill in without a word. Raises
    ForeignError, OSError, BrokenFile.
    """
    refuse_pickles(folder)
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            raise ForeignError(f"{folder} has no {name}; a PEFT folder has one")
    config = _read_config(folder / CONFIG)
    stated = read_json(folder / "card.json").get("base")
    if isinstance(stated, str) and stated != base_id:
        raise ForeignError(f"it was made on {stated}, not on {base_id}")
    described = read_json(base / "config.json")
    shapes = _read_shapes(base, described)
    family = str(described.get("model_type"))
    factors: dict[str, Factors] = {}
    works = False
    with open_tensors(folder / TENSORS) as tensors:
        for module, names in _modules(list(tensors.keys())).items():
            whole = shapes.get(f"{module}.weight")
            factors[module], changes = _check_module(
                module, names, tensors, whole, turned=family in _TURNED
            )
            works = works or changes
    if not works:
        raise ForeignError("it changes nothing: one factor of every module is all zeros")
    _check_config(folder, factors, shapes, family)
    ranks = [made.rank for made in factors.values()]
    named = config.get("base_model_name_or_path")
    return Foreign(len(ranks), max(ranks), named if isinstance(named, str) else None)


class Factors(NamedTuple):
    """Of one module: its outputs and inputs as the factors have them, and their rank."""

    outputs: int
    inputs: int
    rank: int


def _read_shapes(base: Path, described: Mapping[str, Any]) -> Mapping[str, tuple[int, ...]]:
    """Of its weights, however they are stored, by Transformers' names."""
    if files := source_files(base):
        return read_linear_shapes(files, described)
    shapes, layout = read_shapes(base), read_layout(base)
    return shapes if layout is None else dense_shapes(shapes, layout)


def _check_config(
    folder: Path,
    factors: Mapping[str, Factors],
    shapes: Mapping[str, tuple[int, ...]],
    model_type: str,
) -> None:
    """That PEFT makes those factors of the configuration, and no others. Raises ForeignError."""
    layers = {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) == 2
    }
    layers |= {module: (made.outputs, made.inputs) for module, made in factors.items()}
    try:
        expected = expect_factors(folder, layers, model_type)
    except BrokenConfig as error:
        raise ForeignError(str(error)) from error
    there: dict[str, tuple[int, int]] = {}
    for module, made in factors.items():
        there[f"{_PREFIX}{module}.lora_A.weight"] = (made.rank, made.inputs)
        there[f"{_PREFIX}{module}.lora_B.weight"] = (made.outputs, made.rank)
    for name, shape in there.items():
        if name not in expected:
            raise ForeignError(f"its configuration leaves out the tensor {name!r}")
        if expected[name] != shape:
            raise ForeignError(
                f"its tensor {name!r} has the shape {shape}; by its configuration it has"
                f" {expected[name]}"
            )
    # A name for all layers means others to PEFT than can be told by shapes: not the embeddings.
    lacking = expected.keys() - there.keys()
    if lacking and not _means_all(read_json(folder / CONFIG).get("target_modules")):
        raise ForeignError(f"its configuration has the tensor {min(lacking)!r}; it does not")


def _means_all(targets: object) -> bool:
    return isinstance(targets, str) and targets.lower() == "all-linear"


def refuse_pickles(folder: Path) -> None:
    """Raise ForeignError where a file may be one, by its name."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in PICKLES:
            raise ForeignError(
                f"{file} may be a pickle, which can run code; have it without, as safetensors"
            )


def copy_adapter(folder: Path, target: Path) -> None:
    """Its tensors, and its configuration without what names code."""
    target.mkdir(parents=True, exist_ok=True)
    config = _read_config(folder / CONFIG) | _CODELESS | {"inference_mode": True}
    (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (target / TENSORS).write_bytes((folder / TENSORS).read_bytes())


def _read_config(file: Path) -> dict[str, Any]:
    if file.stat().st_size > LARGEST_CONFIG:
        raise ForeignError(f"{file} has more than {LARGEST_CONFIG >> 20} MiB")
    config = read_json(file)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ForeignError(f"{file} says peft_type {kind!r}; only 'LORA' is taken in")
    return config


def _modules(names: list[str]) -> dict[str, dict[str, str]]:
    """Names of the factors A and B of each module."""
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(names):
        match = _FACTOR.fullmatch(name)
        if match is None:
            raise ForeignError(
                f"its tensor {name!r} is no factor of a linear layer; nothing else is served"
            )
        modules[match["module"]][match["factor"]] = name
    if not modules:
        raise ForeignError("it holds no tensors")
    return modules


def _check_module(
    module: str,
    names: Mapping[str, str],
    tensors: Any,
    whole: tuple[int, ...] | None,
    *,
    turned: bool,
) -> tuple[Factors, bool]:
    """Its factors, and whether they change the module, whose weights in the base have the shape
    ``whole``; ``turned``: they are turned round."""
    if whole is None or len(whole) != 2:
        raise ForeignError(f"it adapts {module}, which the base does not have: it is of another")
    if set(names) != {"A", "B"}:
        raise ForeignError(f"of {module} it has one factor only: it is not whole")
    a_RI, b_OR = tensors.get_tensor(names["A"]), tensors.get_tensor(names["B"])
    if a_RI.ndim != 2 or b_OR.ndim != 2 or a_RI.shape[0] != b_OR.shape[1]:
        raise ForeignError(f"the factors of {module} do not fit one another")
    made = (int(b_OR.shape[0]), int(a_RI.shape[1]))
    if made != (whole[::-1] if turned else whole):
        raise ForeignError(
            f"it changes {module} as one of {made[0]} x {made[1]}; in the base it is {whole[0]} x"
            f" {whole[1]}: it is of another base"
        )
    if not (a_RI.isfinite().all() and b_OR.isfinite().all()):
        raise ForeignError(f"the factors of {module} are not all numbers")
    return Factors(*made, rank=int(a_RI.shape[0])), bool(a_RI.any()) and bool(b_OR.any())
