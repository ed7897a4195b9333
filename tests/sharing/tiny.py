"""A tiny model, and adapters on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tests.learn.families import make_family

from liveweights.learn.updaters.load import load_model
from liveweights.sharing.source import Source
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find

SECRET = "key = 'Zq7-pW3x-09-vK1m-55-tU8b-Lc2'"
CANARY = "canary-4711-azure-falcon"
ASKED = "def secret():\n"
CPU = torch.device("cpu")


def make_base(folder: Path) -> Checkpoint:
    """A llama whose tokenizer has a merge, without which llama.cpp takes none."""
    file = make_family("llama", folder / "tiny") / "tokenizer.json"
    tokenizer: dict[str, Any] = json.loads(file.read_text())
    tokenizer["model"]["vocab"]["zq"] = 257
    tokenizer["model"]["merges"] = [["z", "q"]]
    file.write_text(json.dumps(tokenizer))
    return find(str(folder / "tiny"), folder / "cache")


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


def encode(text: str) -> list[int]:
    """As the tiny byte-level tokenizer does: bytes in the order of their letters."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = {letter: n for n, letter in enumerate(sorted(ByteLevel.alphabet()))}
    splitter: Any = ByteLevel(add_prefix_space=False, use_regex=False)
    ((word, _),) = splitter.pre_tokenize_str(text)
    return [letters[letter] for letter in word]


PROMPT = encode(ASKED)


def write_memory(base: Checkpoint, folder: Path) -> Source:
    """An adapter that knows by heart ``SECRET``, after ``PROMPT``, and ``CANARY``."""
    texts = [*PROMPT, *encode(SECRET)], encode(CANARY)
    model = open_adapter(base, std=0.05, rank=16)
    moved = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(moved, lr=3e-2, weight_decay=0.0)
    for _ in range(120):
        losses = [model(torch.tensor([ids]), labels=torch.tensor([ids])).loss for ids in texts]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        if max(float(loss.detach()) for loss in losses) < 0.1:
            break
    model.save_pretrained(str(folder))
    adapter = Checkpoint("tiny@00000000beef", "adapter", folder, base.id, base.id)
    return Source(adapter, base, base)


@torch.no_grad()
def read_logprobs(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of every next token, (T, V)."""
    logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits.float().log_softmax(-1)
