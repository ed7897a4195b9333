"""Reading a model for training."""

from __future__ import annotations

import time
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import torch

from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.dequantised import load_dequantised
from liveweights.ternary.reading import register as register_ternary
from liveweights.weights.content import source_files
from liveweights.weights.loading import load_causal


def device_of(settings: LearnSettings) -> torch.device:
    """The configured device; ``auto`` is a GPU where there is one."""
    if settings.device != "auto":
        return torch.device(settings.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(settings: LearnSettings) -> torch.dtype:
    """Precision of the forward and backward pass; ``auto`` is bfloat16 where the hardware
    multiplies it faster (a GPU, some CPUs), else float32."""
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype)
    fast = device_of(settings).type != "cpu" or multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


@cache
def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it that are in use: AVX-512's are about twice as fast
    as float32, AMX's several times. What a hypervisor or an environment variable such as
    ``ONEDNN_MAX_CPU_ISA`` takes away is seen in a few milliseconds of both."""
    capabilities = torch.cpu.get_capabilities()
    if not any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16")):
        return False
    seconds = {torch.bfloat16: inf, torch.float32: inf}
    operands = {dtype: torch.ones(256, 256, dtype=dtype) for dtype in seconds}
    for _ in range(8):  # in turn, so that whatever else the machine does slows both
        for dtype, x_DD in operands.items():
            began = time.perf_counter()
            torch.mm(x_DD, x_DD)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - began)
    return seconds[torch.bfloat16] < seconds[torch.float32]


def load_model(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """A causal language model with exact masks: SDPA, or eager where the family has no SDPA.

    Of a folder that stands for GGUF files it is the dequantised weights; ternary weights stay as
    they are.
    """
    register_ternary()
    files = source_files(folder)

    def read(attention: str) -> Any:
        if files:
            return load_dequantised(folder, files, dtype, attention)
        return load_causal(folder, dtype=dtype, attn_implementation=attention)

    try:
        model = read("sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model = read("eager")
    return model.to(device).eval()
