"""How rows are laid out for one forward pass: as trees where the model allows, else side by side.

Attention with an ancestor mask computes for a tree's node what it would in the node's own row. A
recurrent layer (Mamba, gated delta networks) runs through the flattened tree in order and would
not. Shapes: N nodes or padded tokens, T answer tokens, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from liveweights.learn.tree import TokenRow, Tree, TreeBuilder, split

Layout = Literal["trees", "tree", "rows"]
"""Trees of rows that share much, which attention (``attention``) computes one by one; one tree of
all rows; no tree."""


_MASKED = {"full_attention", "sliding_attention"}
"""What a layer may see of its row, as a tree's mask can tell it."""


def fits_trees(model: Any, config: Any) -> bool:
    """Whether all that a node sees is what a mask from outside says, be rows as long as they may.

    ``model`` is a causal one of Transformers, ``config`` its text config. Not so where layers see
    chunks or what they choose themselves, are recurrent (parameters ``A_log``), or make masks of
    their own, as older families do.
    """
    if not set(getattr(config, "layer_types", None) or ()) <= _MASKED:
        return False
    if any(hasattr(module, "A_log") for module in model.modules()):
        return False
    return bool(model.is_backend_compatible())


@dataclass(frozen=True, slots=True)
class Batch:
    """``inputs`` for the model; where answer tokens are read, what they are and whose.

    ``reader_T`` and ``nodes`` count tokens of ``input_ids`` flattened. ``nodes[row]`` are the
    places of the row's tokens (without its last, which nobody reads).
    """

    inputs: dict[str, Any]
    reader_T: Tensor
    target_T: Tensor
    row_T: Tensor
    nodes: Sequence[Any]


def lay_out(
    paths: Sequence[TokenRow],
    layout: Layout,
    config: Any,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Make a batch of ``paths`` for a model of that text ``config`` and precision."""
    if layout == "rows":
        return _rows(paths, device)
    # From half its width on, a model spends a sixth of a pass on the pairs of a tree's nodes.
    apart = layout == "trees"
    groups = split(paths, config.hidden_size // 2) if apart else [list(range(len(paths)))]
    builder = TreeBuilder()
    for number, group in enumerate(groups):
        if number:
            builder.part()
        for row in group:
            builder.add(paths[row], row)
    tree = builder.build()
    batch = _tree(tree, config, device, dtype)
    if apart:
        batch.inputs["cu_seq_lens_q"] = torch.from_numpy(tree.bounds)
    return batch


def _tree(tree: Tree, config: Any, device: torch.device, dtype: torch.dtype) -> Batch:
    def mask(window: int | None) -> Tensor:
        seen_NN = torch.from_numpy(tree.mask_NN(window))
        # In place: of a long row it is gigabytes.
        mask_NN = torch.full(seen_NN.shape, float("-inf"), dtype=dtype).masked_fill_(seen_NN, 0.0)
        return mask_NN[None, None].to(device)

    kinds: set[str] = set(getattr(config, "layer_types", None) or ())
    if "sliding_attention" in kinds:
        windows = {"sliding_attention": config.sliding_window, "full_attention": None}
        masks: Any = {kind: mask(windows[kind]) for kind in kinds}
    else:
        masks = mask(None if kinds else getattr(config, "sliding_window", None))
    inputs = {
        "input_ids": torch.from_numpy(tree.token_N)[None].to(device),
        "position_ids": torch.from_numpy(tree.depth_N)[None].to(device),
        "attention_mask": masks,
    }
    return Batch(
        inputs,
        torch.from_numpy(tree.reader_T).to(device),
        torch.from_numpy(tree.target_T).to(device),
        torch.from_numpy(tree.row_T),
        tree.nodes,
    )


def _rows(paths: Sequence[TokenRow], device: torch.device) -> Batch:
    """Rows padded on the right, where a causal model does not look."""
    fed = [[*path.prompt_ids, *path.answer_ids[:-1]] for path in paths]
    width = max(map(len, fed))
    ids_BL = torch.zeros((len(fed), width), dtype=torch.int64)
    readers: list[int] = []
    for row, (tokens, path) in enumerate(zip(fed, paths, strict=True)):
        ids_BL[row, : len(tokens)] = torch.tensor(tokens)
        first = row * width + len(path.prompt_ids) - 1
        readers += range(first, first + len(path.answer_ids))
    counts = torch.tensor([len(path.answer_ids) for path in paths])
    return Batch(
        {"input_ids": ids_BL.to(device)},
        torch.tensor(readers, device=device),
        torch.tensor([t for path in paths for t in path.answer_ids], device=device),
        torch.arange(len(paths)).repeat_interleave(counts),
        [np.arange(row * width, row * width + len(tokens)) for row, tokens in enumerate(fed)],
    )
