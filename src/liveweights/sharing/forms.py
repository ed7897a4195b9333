"""The forms in which checkpoints leave: a PEFT folder, whole safetensors, GGUF."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from liveweights.sharing.source import Source
from liveweights.weights.adapters import write_gguf_adapter
from liveweights.weights.content import SOURCE, covered_files, source_files, weight_files
from liveweights.weights.foreign import CONFIG, copy_adapter
from liveweights.weights.gguf import Precision, write_gguf
from liveweights.weights.loading import load_adapter
from liveweights.weights.models import read_json
from liveweights.weights.selection import FILE as SELECTION
from liveweights.weights.tensors import read_dtypes
from liveweights.weights.ternary.layout import read_layout

Form = Literal["peft", "merged", "gguf", "gguf-adapter"]
FORMS: tuple[Form, ...] = get_args(Form)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_WEIGHTS = {SOURCE, "model.safetensors.index.json", "config.json"}


class CannotExport(ValueError):
    """A checkpoint cannot leave in that form; one sentence says why."""


def write_form(
    source: Source, form: Form, folder: Path, *, precision: Precision, base_name: str
) -> None:
    """Write the checkpoint's files to ``folder``, which is there and empty.

    ``base_name`` is what PEFT is told to look for the base under; ``precision`` is that of a
    GGUF. Raises CannotExport, UnsupportedByLlamaCpp, OSError, ValueError.
    """
    checkpoint = source.checkpoint
    if checkpoint.kind == "base":
        raise CannotExport(f"{checkpoint.id} is a base: nothing of it was learnt here")
    if form in ("peft", "gguf-adapter") and checkpoint.kind != "adapter":
        raise CannotExport(
            f"{checkpoint.id} is no adapter but whole weights; export it as merged or gguf"
        )
    if form in ("merged", "gguf") and read_layout(source.base.folder):
        raise CannotExport(
            f"{source.base.id} is ternary, and an adapter is never merged into such weights: "
            "export it as peft, or as gguf-adapter beside what `liveweights ternary export` writes"
        )
    match form:
        case "peft":
            _write_peft(source, folder, base_name)
        case "merged":
            write_merged(source, folder)
        case "gguf":
            with tempfile.TemporaryDirectory(dir=folder.parent) as place:
                write_merged(source, Path(place))
                whole = replace(checkpoint, kind="full", folder=Path(place))
                write_gguf(whole, folder / f"{checkpoint.id}.{precision}.gguf", precision)
        case "gguf-adapter":
            file = folder / f"{checkpoint.id}.{precision}.lora.gguf"
            write_gguf_adapter(checkpoint, source.base, file, precision)


def write_merged(source: Source, folder: Path) -> None:
    """Whole weights in the precision of the base (of a GGUF base in float32), with tokenizer and
    template; an adapter is merged by PEFT. Raises OSError, ValueError."""
    checkpoint = source.checkpoint
    if checkpoint.kind == "adapter":
        _merge(source, folder)
        others = source.base.folder
    else:
        others = checkpoint.folder
        for file in weight_files(others):
            shutil.copyfile(file, folder / file.name)
        for name in ("config.json", "model.safetensors.index.json"):
            if (others / name).is_file():
                shutil.copyfile(others / name, folder / name)
    for name, file in covered_files(others).items():
        if name not in _WEIGHTS and file not in weight_files(others):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
    _copy_selection(checkpoint.folder, folder)


def _write_peft(source: Source, folder: Path, base_name: str) -> None:
    copy_adapter(source.checkpoint.folder, folder)
    config = read_json(folder / CONFIG) | {"base_model_name_or_path": base_name}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    _copy_selection(source.checkpoint.folder, folder)


def _copy_selection(source: Path, target: Path) -> None:
    """When to say nothing, which plain Transformers do not know of."""
    if (source / SELECTION).is_file():
        shutil.copyfile(source / SELECTION, target / SELECTION)


def _merge(source: Source, folder: Path) -> None:
    import torch

    from liveweights.learn.updaters.load import load_model

    base = source.base.folder
    dtypes = {} if source_files(base) else read_dtypes(base)
    # Masks, positions and the like are no weights.
    stored = {name: dtype for name, dtype in dtypes.items() if dtype.is_floating_point}
    model: Any = load_model(base, torch.float32, torch.device("cpu"))
    adapted: Any = load_adapter(model, source.checkpoint.folder)
    merged: Any = adapted.merge_and_unload(safe_merge=True)
    # Fused experts have other names on disk than in memory: they get the coarsest precision.
    coarsest = min(
        stored.values(), key=lambda dtype: torch.finfo(dtype).bits, default=torch.float32
    )
    for name, weight in merged.named_parameters():
        weight.data = weight.data.to(stored.get(name, coarsest))
    merged.save_pretrained(str(folder), safe_serialization=True)
    config = read_json(folder / "config.json")
    config.pop("_name_or_path", None)  # a path of this machine
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
