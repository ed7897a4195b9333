"""A tiny model, and adapters on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.learn.families import make_family

from liveweights.learn.updaters.load import load_model
from liveweights.sharing.source import Source
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find

CPU = torch.device("cpu")


def make_base(folder: Path) -> Checkpoint:
    return find(str(make_family("llama", folder / "tiny")), folder / "cache")


def open_adapter(base: Checkpoint, seed: int = 0, std: float = 0.2, rank: int = 4) -> Any:
    """A model with a random adapter, in training."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )
    model: Any = get_peft_model(load_model(base.folder, torch.float32, CPU), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=std)
    return model


def write_adapter(base: Checkpoint, folder: Path, seed: int = 0, std: float = 0.2) -> Source:
    """A random adapter that changes answers."""
    open_adapter(base, seed, std).save_pretrained(str(folder))
    adapter = Checkpoint(f"tiny@{seed:012d}", "adapter", folder, base.id, base.id)
    return Source(adapter, base, base)


@torch.no_grad()
def read_logprobs(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of every next token, (T, V)."""
    logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits.float().log_softmax(-1)
