"""What engines are held against: Transformers and PEFT, called plainly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import content_id, hash_files
from liveweights.weights.loading import LOADING


@cache
def read(folder: Path) -> Any:
    """The model in ``folder``, float32."""
    from transformers import AutoModelForCausalLM

    with LOADING:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@cache
def read_adapted(base: Path, adapter: Path) -> Any:
    """A model of its own with a PEFT adapter merged into its weights."""
    from peft import PeftModel

    with LOADING:
        return PeftModel.from_pretrained(copy.deepcopy(read(base)), str(adapter)).merge_and_unload()


@torch.inference_mode()
def raw_logprobs(model: Any, prompt: Sequence[int], output: Sequence[int]) -> list[float]:
    """Log-softmax of the logits at each output token [T]."""
    logits_TV = model(torch.tensor([[*prompt, *output]])).logits[0, len(prompt) - 1 : -1]
    logprobs_TV = torch.log_softmax(logits_TV.double(), -1)
    return [float(row[i]) for row, i in zip(logprobs_TV, output, strict=True)]


@torch.inference_mode()
def experts(model: Any, prompt: Sequence[int], output: Sequence[int]) -> NDArray[np.int16]:
    """Experts that the passes before each output token go through [T, routers, chosen]."""
    chosen: list[torch.Tensor] = []
    routers = [m for m in model.modules() if type(m).__name__.endswith("Router")]
    hooks = [r.register_forward_hook(lambda *call: chosen.append(call[2][2])) for r in routers]
    model(torch.tensor([[*prompt, *output]]))
    for hook in hooks:
        hook.remove()
    return torch.stack(chosen, 1)[len(prompt) - 1 : -1].to(torch.int16).numpy()


def make_adapter(base: Checkpoint, folder: Path, std: float = 0.08, **settings: Any) -> Checkpoint:
    """A random LoRA adapter on ``base``, strong enough to change what it says; the same at each
    call."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(7)
    options = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", **settings}
    with LOADING:
        model: Any = get_peft_model(copy.deepcopy(read(base.folder)), LoraConfig(**options))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=std)
    model.save_pretrained(folder)
    digest = content_id(hash_files(folder), base.id)
    return Checkpoint(f"adapted@{digest}", "adapter", folder, base=base.id, parent=base.id)
