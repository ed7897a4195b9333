"""A low-rank adapter on a frozen base (arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from liveweights.learn import sharing
from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.adapted import fuse
from liveweights.learn.updaters.load import compute_dtype, device_of, load_model
from liveweights.learn.updaters.targets import Part, find_parts, find_targets
from liveweights.weights.checkpoint import Kind
from liveweights.weights.loading import LOADING, load_adapter

STORED = torch.float16
"""Half the bytes of a release. Eight times as fine as bfloat16, so that small steps add up over
many cycles; weights of adapters are far from its bounds."""


class Lora:
    """``Updater`` that moves a LoRA adapter. Switched off, the same memory is the base."""

    kind: Kind = "adapter"

    def __init__(self, base: Path, parent: Path | None, settings: LearnSettings) -> None:
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(settings.seed)
        with LOADING:
            model = load_model(base, compute_dtype(settings), device_of(settings))
            self.notes: tuple[str, ...] = ()
            if parent is not None:
                parts = find_parts(model)
                self.model: Any = load_adapter(model, parent, is_trainable=True)
                self.notes = tuple(_compare(self.model, parts, settings))
            else:
                targets = find_targets(model, settings.adapt)
                config = LoraConfig(
                    r=settings.rank,
                    lora_alpha=settings.alpha,
                    target_modules=targets.modules,
                    target_parameters=targets.parameters or None,
                    fan_in_fan_out=targets.transposed,
                    task_type="CAUSAL_LM",
                )
                self.model = get_peft_model(model, config)
        self.model.eval()
        fuse(self.model)
        self.learning_rate = settings.learning_rate

    def parameters(self) -> list[Any]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def base(self) -> AbstractContextManager[None]:
        return self.model.disable_adapter()

    @torch.no_grad()
    def finish(self) -> None:
        for weight in self.parameters():
            weight.copy_(weight.to(STORED))

    def save(self, folder: Path) -> None:
        """Write ``adapter_model.safetensors`` and ``adapter_config.json``."""
        adapter = {
            name: sharing.whole(weight).to(STORED)
            for name, weight in self.model.named_parameters()
            if "lora_" in name
        }
        if sharing.rank() == 0:
            self.model.save_pretrained(str(folder), state_dict=adapter, safe_serialization=True)


def _compare(model: Any, parts: Mapping[str, Part], settings: LearnSettings) -> Iterator[str]:
    """Where an adapter that goes on is not what the settings would make, in sentences."""
    config = model.peft_config["default"]
    if config.r != settings.rank:
        yield _note("is of rank", config.r, "rank", settings.rank)
    if config.lora_alpha != settings.alpha:
        yield _note("has the alpha", config.lora_alpha, "alpha", settings.alpha)
    names = (name for name, weight in model.named_parameters() if weight.requires_grad)
    paths = {
        name.removeprefix("base_model.model.").partition(".lora_")[0].replace(".base_layer", "")
        for name in names
    }
    adapted = {parts[path] for path in paths if path in parts}
    wanted = set(settings.adapt).intersection(parts.values())
    if adapted != wanted:
        yield _note("adapts", _list(adapted), "adapt", _list(settings.adapt))


def _note(does: str, what: object, name: str, wanted: object) -> str:
    return (
        f"the adapter that is live {does} {what}, and goes on so: learn.{name} ({wanted}) is for a"
        " new one"
    )


def _list(parts: Collection[str]) -> str:
    return " and ".join(sorted(parts)) or "nothing that is known"
