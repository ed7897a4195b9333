"""Attention within each of several trees that lie side by side in one pass.

A tree's nodes see none of another's: only pairs within a tree are computed. Where the trees end is
what Transformers calls ``cu_seq_lens_q``. Shapes: H query heads and K key-value heads, N nodes, n
of them in a tree or a part of it, m that these see, D head_dim.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IMPLEMENTATION = "trees"
"""The name by which Transformers knows it."""

TILE = 1 << 25
"""Most scores that ``by_products`` computes at once, of all heads: 128 MiB of them in float32. It
holds three such tensors at a time; a query that sees more nodes is computed by itself."""

_SOFTMAX_BACKWARD: Any = torch.ops.aten._softmax_backward_data


def register() -> None:
    """Make it known to Transformers."""
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention function: (1, H, N, D) over (1, K, N, D) -> (1, N, H, D).

    Without ``cu_seq_lens_q`` it is Transformers' own. Raises ValueError for what it does not
    compute: attention sinks, capped scores, biases by position.
    """
    if cu_seq_lens_q is None or attention_mask is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
    if any(rest.get(name) is not None for name in ("s_aux", "softcap", "position_bias")):
        raise ValueError("attention over trees has neither sinks nor caps nor biases")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    way = by_products if query.device.type == "cpu" else by_kernel
    mask = attention_mask.to(query.dtype)
    output = way(query, key, value, mask, bounds=cu_seq_lens_q.tolist(), scale=scale)
    return output.transpose(1, 2), None


def by_kernel(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, bounds: list[int], scale: float
) -> Tensor:
    """By PyTorch's kernel, which on GPUs holds no scores in memory: (1, H, N, D)."""
    # Where it is to share keys among heads itself, it takes no mask without computing all scores.
    key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], dim=1) for t in (key, value))
    parts = [
        F.scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            attn_mask=mask[:, :, start:end, start:end],
            scale=scale,
        )
        for start, end in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2)


def by_products(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    *,
    bounds: list[int],
    scale: float,
    tile: int = TILE,
) -> Tensor:
    """By matrix products, with the probabilities computed again in the backward pass.

    PyTorch's kernel for CPUs multiplies small tiles, without the CPU's matrix units in its
    backward pass in bfloat16; here a product is as large as its tree, up to ``tile`` scores.
    """
    kind: Any = _Products
    with torch.autocast(query.device.type, enabled=False):
        out_HND: Tensor = kind.apply(query[0], key[0], value[0], mask[0, 0], bounds, scale, tile)
    return out_HND[None]


class _Products(torch.autograd.Function):
    """Queries go tile by tile; each sees its tree's nodes up to the tile's end, as no node sees a
    later one. So a tile's probabilities are whole."""

    @staticmethod
    def forward(
        ctx: Any,
        query_HND: Tensor,
        key_KND: Tensor,
        value_KND: Tensor,
        bias_NN: Tensor,
        bounds: list[int],
        scale: float,
        tile: int,
    ) -> Tensor:
        ctx.save_for_backward(query_HND, key_KND, value_KND, bias_NN)
        ctx.bounds, ctx.scale, ctx.tile = bounds, scale, tile
        heads, nodes, _ = query_HND.shape
        out_HND = query_HND.new_empty(heads, nodes, value_KND.shape[-1])
        for start, end in pairwise(bounds):
            for first, last in find_tiles(start, end, tile // heads):
                query, key = _grouped(query_HND, len(key_KND), first, last), key_KND[:, start:last]
                chances = _probabilities(query, key, bias_NN[first:last, start:last], scale)
                out = chances @ value_KND[:, start:last]
                out_HND[:, first:last] = out.view(heads, last - first, -1)
        return out_HND

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (out_HND,) = gradients
        query_HND, key_KND, value_KND, bias_NN = ctx.saved_tensors
        heads, kinds = len(query_HND), len(key_KND)
        by_query, by_key, by_value = (torch.empty_like(t) for t in (query_HND, key_KND, value_KND))
        for start, end in pairwise(ctx.bounds):
            tiles = find_tiles(start, end, ctx.tile // heads)
            # In bfloat16 a sum of many parts would lose its digits.
            dtype = key_KND.dtype if len(tiles) == 1 else torch.float32
            key_sum, value_sum = (
                torch.zeros_like(t[:, start:end], dtype=dtype) for t in (key_KND, value_KND)
            )
            for first, last in tiles:
                query, key = _grouped(query_HND, kinds, first, last), key_KND[:, start:last]
                bias = bias_NN[first:last, start:last]
                chances = _probabilities(query, key, bias, ctx.scale)
                out = _grouped(out_HND, kinds, first, last)
                value_sum[:, : last - start] += chances.transpose(1, 2) @ out
                by_chances = out @ value_KND[:, start:last].transpose(1, 2)
                # d softmax: p (dp - sum p dp)
                by_scores = _SOFTMAX_BACKWARD(by_chances, chances, -1, chances.dtype)
                by_query[:, first:last] = _scaled(by_scores, key, ctx.scale).view(
                    heads, last - first, -1
                )
                key_sum[:, : last - start] += _scaled(by_scores.transpose(1, 2), query, ctx.scale)
            by_key[:, start:end], by_value[:, start:end] = key_sum, value_sum
        return by_query, by_key, by_value, None, None, None, None


def find_tiles(start: int, end: int, scores: int) -> list[tuple[int, int]]:
    """A tree's queries in parts that see at most so many ``scores`` each, or are one query."""
    tiles: list[tuple[int, int]] = []
    first = start
    while first < end:
        seen = first - start
        # m queries see m (seen + m) nodes, where none sees a later one.
        size = max(1, (math.isqrt(seen * seen + 4 * scores) - seen) // 2)
        tiles.append((first, min(first + size, end)))
        first += size
    return tiles


def _grouped(tensor_HND: Tensor, kinds: int, start: int, end: int) -> Tensor:
    """A part of the nodes, the heads that share keys under each other: (K, H/K * n, D)."""
    part = tensor_HND[:, start:end]
    return part.reshape(kinds, -1, part.shape[-1])


def _probabilities(query: Tensor, key: Tensor, bias_nm: Tensor, scale: float) -> Tensor:
    """softmax(scale * query key^T + bias) -> (K, H/K * n, m), in the inputs' precision."""
    bias = bias_nm.repeat(query.shape[1] // len(bias_nm), 1)
    scores = torch.baddbmm(bias.expand(len(query), -1, -1), query, key.transpose(1, 2), alpha=scale)
    return scores.softmax(-1)


def _scaled(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale * a b"""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0.0, alpha=scale)
