"""Attention of one new token per row over what the rows hold, on a CPU.

PyTorch's kernel takes blocks of queries and goes through each head by itself: of a lone query it
takes more than twice as long as two products. Shapes: B rows, H query heads and K key-value heads,
S tokens that a row holds, D head_dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BEYOND = ("s_aux", "softcap", "position_bias")
"""What it does not compute: sinks, capped scores, biases by position."""


def register() -> None:
    """Let Transformers compute so, in this process, where it would take PyTorch's kernel. Its name
    stays: models with sparse attention ask for it before they choose how they mask."""
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register("sdpa", attend)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention function: (B, H, T, D) over (B, K, S, D) -> (B, T, H, D).

    What is not one token per row, in float32 and on a CPU is Transformers' own.
    """
    alone = query.shape[2] == 1 and query.dtype == torch.float32 and query.device.type == "cpu"
    if not alone or any(rest.get(name) is not None for name in _BEYOND):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
    rows, heads, _, width = query.shape
    # Heads that share keys are as rows of one product.
    query_BKGD = query.reshape(rows, key.shape[1], -1, width)
    scores_BKGS = query_BKGD @ key.transpose(2, 3)
    scores_BKGS *= width**-0.5 if scaling is None else scaling
    if attention_mask is not None:
        if attention_mask.shape[1] == heads > 1:  # each head's own
            attention_mask = attention_mask.expand(rows, -1, -1, -1).reshape(scores_BKGS.shape)
        if attention_mask.dtype == torch.bool:
            scores_BKGS.masked_fill_(~attention_mask, -torch.inf)
        else:
            scores_BKGS += attention_mask
    output = torch.softmax(scores_BKGS, dim=-1) @ value
    return output.view(rows, 1, heads, -1), None
