"""What checkpoints go on with, by Transformers and PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.load import compute_dtype, device_of, load_model
from liveweights.sharing.source import Source
from liveweights.weights.loading import load_adapter

BATCH = 8

Ids = Sequence[int]


def continue_both(
    source: Source, prompts: Sequence[Ids], most: int, settings: LearnSettings
) -> tuple[list[list[int]], list[list[int]]]:
    """What the checkpoint and its root go on with, each greedily with at most ``most`` tokens, on
    the device and in the precision of updates. Raises OSError, ValueError."""
    dtype, device = compute_dtype(settings), device_of(settings)
    model = load_model(source.base.folder, dtype, device)
    if source.checkpoint.kind == "adapter":
        model = load_adapter(model, source.checkpoint.folder).eval()
    answers = continue_greedily(model, prompts, most)
    if source.checkpoint.kind == "adapter" and source.base.id == source.root.id:
        with model.disable_adapter():
            return answers, continue_greedily(model, prompts, most)
    del model  # before the next one is read
    root = load_model(source.root.folder, dtype, device)
    return answers, continue_greedily(root, prompts, most)


@torch.no_grad()
def continue_greedily(model: Any, prompts: Sequence[Ids], most: int) -> list[list[int]]:
    """The most likely tokens after each prompt, up to the end of text; a prompt without tokens
    begins with the first one of the vocabulary. Raises ValueError for tokens outside of it."""
    size: int = model.get_input_embeddings().num_embeddings
    highest = max((id for ids in prompts for id in ids), default=0)
    if highest >= size:
        raise ValueError(
            f"a prompt on record has the token {highest}, and the model knows {size}: it was"
            " answered on a base that is not registered any more"
        )
    answers: list[list[int]] = []
    for start in range(0, len(prompts), BATCH):
        batch = [list(ids) or [0] for ids in prompts[start : start + BATCH]]
        width = max(map(len, batch))
        ids_BT = torch.tensor([[0] * (width - len(ids)) + ids for ids in batch])
        mask_BT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in batch])
        made_BT = model.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=mask_BT.to(model.device),
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            pad_token_id=0,
        )
        ends = _ends(model)
        answers += [_cut(made, ends) for made in made_BT[:, width:].tolist()]
    return answers


def _ends(model: Any) -> frozenset[int]:
    ends: int | list[int] | None = model.generation_config.eos_token_id
    return frozenset([ends] if isinstance(ends, int) else ends or [])


def _cut(ids: list[int], ends: frozenset[int]) -> list[int]:
    """Up to the end of text; what follows it fills the batch."""
    stop = next((place for place, id in enumerate(ids) if id in ends), len(ids))
    return ids[:stop]
