"""One adapter of several on the same base, by PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from liveweights.learn.updaters.load import load_model
from liveweights.sharing.method import Method
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.foreign import ForeignError, check_adapter
from liveweights.weights.loading import LOADING, load_adapter

_NAME = "merged"


class CannotMerge(ValueError):
    """These checkpoints make no adapter in that way; one sentence says why."""


def merge_adapters(
    parts: Mapping[Checkpoint, float],
    base: Checkpoint,
    method: Method,
    folder: Path,
    *,
    density: float,
    seed: int,
) -> int:
    """Write to ``folder`` the PEFT adapter that ``parts``, each with its weight, make on ``base``,
    which is whole; its rank.

    ``density`` is the share of values that methods which drop some keep; ``seed`` fixes which,
    where that is drawn. Raises CannotMerge, OSError.
    """
    for part in parts:
        if part.kind != "adapter" or part.base != base.id:
            raise CannotMerge(f"{part.id} is no adapter on {base.id}")
    names = {f"part{number}": part for number, part in enumerate(parts)}
    torch.manual_seed(seed)
    model: Any = load_model(base.folder, torch.float32, torch.device("cpu"))
    for name, part in names.items():
        if name == "part0":
            model = load_adapter(model, part.folder, adapter_name=name)
            continue
        with LOADING:
            model.load_adapter(str(part.folder), adapter_name=name)
    options: dict[str, Any] = {"combination_type": method.replace("-", "_")}
    if method.startswith(("ties", "dare", "magnitude")):
        options["density"] = density
    if "svd" in method:
        options["svd_full_matrices"] = False
    try:
        model.add_weighted_adapter([*names], [*parts.values()], _NAME, **options)
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise CannotMerge(f"PEFT does not merge them as {method}: {error}") from error
    model.save_pretrained(str(folder), selected_adapters=[_NAME], safe_serialization=True)
    for file in sorted((folder / _NAME).iterdir()):
        file.rename(folder / file.name)
    (folder / _NAME).rmdir()
    try:
        return check_adapter(folder, base.folder, base.id).rank
    except ForeignError as error:
        raise CannotMerge(f"what PEFT made of them cannot be served: {error}") from error
