"""Reading a model for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from liveweights.learn.settings import LearnSettings


def device_of(settings: LearnSettings) -> torch.device:
    """The configured device; ``auto`` is a GPU where there is one."""
    if settings.device != "auto":
        return torch.device(settings.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(settings: LearnSettings) -> torch.dtype:
    """Precision of the forward and backward pass; ``auto`` is bfloat16 where the hardware has
    matrix units for it (a GPU, a CPU with AMX), else float32."""
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype)
    fast = device_of(settings).type != "cpu" or has_matrix_units()
    return torch.bfloat16 if fast else torch.float32


def has_matrix_units() -> bool:
    """Whether this CPU multiplies bfloat16 in tiles (AMX), several times as fast as float32."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def load_model(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """A causal language model with exact masks: SDPA, or eager where the family has no SDPA."""
    from transformers import AutoModelForCausalLM

    def read(attention: str) -> Any:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, local_files_only=True
        )

    try:
        model = read("sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model = read("eager")
    return model.to(device).eval()
