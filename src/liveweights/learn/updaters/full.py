"""All weights, kept as a bit-exact difference to those of the base."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from liveweights.learn import sharing
from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.load import device_of, load_model
from liveweights.weights.checkpoint import Kind
from liveweights.weights.delta import encode
from liveweights.weights.loading import load_adapter
from liveweights.weights.tensors import read_dtypes


class FullWeights:
    """``Updater`` that moves every weight but the routers'.

    The base is the incumbent's own weights: each cycle's difference is a small one. Steps are
    taken in float32; ``finish`` rounds to the precision that the base is stored in, so that what
    is probed and scored is what is shipped.
    """

    kind: Kind = "full"
    notes: tuple[str, ...] = ()

    def __init__(self, base: Path, parent: Path | None, settings: LearnSettings) -> None:
        torch.manual_seed(settings.seed)
        self._base = base
        self._device = device_of(settings)
        self.model: Any = load_model(base, torch.float32, self._device)
        if parent is not None:
            # What was learnt as an adapter goes on as part of the weights.
            self.model = load_adapter(self.model, parent).merge_and_unload()
            self.model.requires_grad_(True)
        self.learning_rate = settings.full_learning_rate
        for module in self.model.modules():
            if type(module).__name__.endswith("Router"):
                module.requires_grad_(False)

    def parameters(self) -> list[Any]:
        return [p for p in self.model.parameters() if p.requires_grad]

    @contextmanager
    def base(self) -> Generator[None]:
        """The base is read again for as long as it is needed, rather than held all the time."""
        ours = self.model
        self.model = load_model(self._base, torch.float32, self._device)
        try:
            yield
        finally:
            self.model = ours

    @torch.no_grad()
    def finish(self) -> None:
        stored = read_dtypes(self._base)
        # Fused experts have other names on disk than here: they get the coarsest precision.
        coarsest = min(set(stored.values()), key=lambda dtype: torch.finfo(dtype).bits)
        for name, weight in self.model.named_parameters():
            weight.copy_(weight.to(stored.get(name, coarsest)))

    def save(self, folder: Path) -> None:
        """Write ``delta.safetensors`` (see ``weights.delta``), beside the model's configuration.

        Raises DeltaError where Transformers writes other tensors than it read.
        """
        weights = {name: sharing.whole(w) for name, w in self.model.state_dict().items()}
        if sharing.rank() != 0:
            return
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            whole = Path(place)
            self.model.save_pretrained(whole, state_dict=weights, safe_serialization=True)
            encode(self._base, whole, folder)
        shutil.copy2(self._base / "config.json", folder / "config.json")
