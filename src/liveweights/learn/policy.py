"""The model that is trained: a frozen base with a LoRA adapter, and its log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import Path as Row
from liveweights.learn.tree import TreeBuilder, pack


class Policy:
    """Base weights that never change and an adapter that does.

    With the adapter switched off the same memory is the base; loaded from ``parent`` and not yet
    updated, it is the incumbent.
    """

    def __init__(self, base: Path, parent: Path | None, settings: LearnSettings) -> None:
        """Raises OSError or ValueError where a folder holds no loadable weights."""
        from peft import LoraConfig, PeftModel, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(settings.seed)
        model: Any = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
        )
        if parent is not None:
            self.model: Any = PeftModel.from_pretrained(model, str(parent), is_trainable=True)
        else:
            config = LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            )
            self.model = get_peft_model(model, config)
        self.model.eval()

    def parameters(self) -> list[Any]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def logits(self, paths: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
        """One pass over the rows' prefix tree.

        Returns logits (T, V) only where an answer token is predicted, targets (T,), rows (T,).
        """
        builder = TreeBuilder()
        for path in paths:
            builder.add(path)
        tree = builder.build()
        seen_NN = torch.from_numpy(tree.mask_NN())
        mask_11NN = torch.zeros(seen_NN.shape).masked_fill(~seen_NN, float("-inf"))[None, None]
        out = self.model(
            input_ids=torch.from_numpy(tree.token_N)[None],
            position_ids=torch.from_numpy(tree.depth_N)[None],
            attention_mask=mask_11NN,
            use_cache=False,
            logits_to_keep=torch.from_numpy(tree.reader_T),
        )
        return out.logits[0], torch.from_numpy(tree.target_T), torch.from_numpy(tree.row_T)

    def logprobs(self, paths: Sequence[Row], temperature_B: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answer tokens (T,) at each row's temperature, and rows (T,)."""
        logits_TV, target_T, row_T = self.logits(paths)
        scaled_TV = logits_TV / temperature_B[row_T, None]
        chosen_T = scaled_TV.gather(1, target_T[:, None])[:, 0]
        return chosen_T - torch.logsumexp(scaled_TV, dim=-1), row_T

    @torch.no_grad()
    def score(
        self, paths: Sequence[Row], temperatures: Sequence[float], nodes: int
    ) -> list[Tensor]:
        """Log-probabilities of each row's answer tokens, without gradient."""
        scores: list[Tensor] = []
        for indices in pack(paths, nodes):
            chosen = [paths[i] for i in indices]
            heat_B = torch.tensor([temperatures[i] for i in indices])
            logprobs_T, row_T = self.logprobs(chosen, heat_B)
            scores += logprobs_T.split([int(n) for n in torch.bincount(row_T)])
        return scores

    def base(self) -> Any:
        """A context in which the adapter is switched off."""
        return self.model.disable_adapter()

    def save(self, folder: Path) -> None:
        """Write ``adapter_model.safetensors`` and ``adapter_config.json``."""
        self.model.save_pretrained(str(folder), safe_serialization=True)


def batches(paths: Sequence[Row], nodes: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Trees of at most ``nodes`` nodes in random order: the gradient steps of one epoch."""
    groups = pack(paths, nodes)
    for place in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[place]
