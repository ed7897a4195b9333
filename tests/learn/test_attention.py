from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from liveweights.learn.attention import attend, by_kernel, by_products, find_tiles

HEADS, NODES = 6, 14
BOUNDS = torch.tensor([0, 9, 14])


def inputs(kinds: int, value_size: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Queries, keys and values as a model's layer makes them, and a mask of two trees."""
    made = torch.Generator().manual_seed(0)
    sizes = [(HEADS, 16), (kinds, 16), (kinds, value_size)]
    tensors = [
        torch.randn(1, NODES, heads, size, generator=made)
        .to(dtype)
        .transpose(1, 2)
        .requires_grad_()
        for heads, size in sizes
    ]
    seen_NN = torch.rand(NODES, NODES, generator=made) < 0.5
    seen_NN = seen_NN.tril() | torch.eye(NODES, dtype=torch.bool)
    seen_NN[9:, :9] = False
    mask_NN = torch.zeros(NODES, NODES, dtype=dtype).masked_fill(~seen_NN, float("-inf"))
    return (*tensors, mask_NN[None, None])


def layer(kinds: int) -> Any:
    return SimpleNamespace(num_key_value_groups=HEADS // kinds, is_causal=True, training=False)


def gradients(out: Tensor, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((out.float() * weights).sum(), tensors)


@pytest.mark.parametrize(("kinds", "value_size"), [(6, 16), (2, 16), (1, 16), (3, 24)])
@pytest.mark.parametrize("way", [by_kernel, by_products])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_it_is_attention_within_each_tree(
    kinds: int, value_size: int, way: Any, dtype: torch.dtype, error: float
) -> None:
    query, key, value, mask = inputs(kinds, value_size, dtype)
    out = way(query, key, value, mask, bounds=BOUNDS.tolist(), scale=0.3).transpose(1, 2)
    exact = tuple(t.detach().float().requires_grad_() for t in (query, key, value))
    q, k, v = exact
    expected, _ = sdpa_attention_forward(layer(kinds), q, k, v, mask.float(), scaling=0.3)
    assert out.shape == expected.shape
    assert torch.allclose(out.float(), expected, atol=error)
    found, right = gradients(out, (query, key, value)), gradients(expected, exact)
    for ours, theirs in zip(found, right, strict=True):
        assert torch.allclose(ours.float(), theirs, atol=error * float(theirs.abs().max()))


@pytest.mark.parametrize("tile", [1, HEADS * 7, HEADS * 30])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_tiles_change_neither_values_nor_gradients(
    tile: int, dtype: torch.dtype, error: float
) -> None:
    query, key, value, mask = inputs(2, 24, dtype)

    def run(**more: int) -> tuple[Tensor, ...]:
        out = by_products(query, key, value, mask, bounds=BOUNDS.tolist(), scale=0.3, **more)
        return out, *gradients(out, (query, key, value))

    for ours, whole in zip(run(tile=tile), run(), strict=True):
        assert torch.allclose(ours, whole, atol=error * float(whole.abs().max()))


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor had that was made within it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


def test_a_long_row_is_computed_with_bounded_memory() -> None:
    nodes, tile = 512, HEADS * 512 * 8
    made = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, nodes, 16, generator=made).requires_grad_() for heads in (HEADS, 2, 2)
    )
    mask = torch.full((1, 1, nodes, nodes), float("-inf")).triu(1)
    with Largest() as largest:
        out = by_products(query, key, value, mask, bounds=[0, nodes], scale=0.25, tile=tile)
        out.sum().backward()  # pyright: ignore[reportUnknownMemberType]
    assert largest.numbers <= max(tile, mask.numel())
    assert tile < HEADS * nodes * nodes / 8


@given(st.integers(0, 50), st.integers(0, 300), st.integers(0, 5000))
def test_tiles_hold_every_query_once_and_no_more_than_they_may(
    start: int, count: int, scores: int
) -> None:
    tiles = find_tiles(start, start + count, scores)
    assert [node for tile in tiles for node in range(*tile)] == list(range(start, start + count))
    assert all((b - a) * (b - start) <= scores or b - a == 1 for a, b in tiles)
    assert len(tiles) <= 1 or count * count > scores  # what is short goes in one


def test_a_pass_with_bounds_goes_tree_by_tree() -> None:
    query, key, value, mask = inputs(2, 16, torch.float32)
    out, _ = attend(layer(2), query, key, value, mask, cu_seq_lens_q=BOUNDS)
    expected = by_products(query, key, value, mask, bounds=BOUNDS.tolist(), scale=16**-0.5)
    assert torch.equal(out, expected.transpose(1, 2))


def test_without_trees_it_is_transformers_own() -> None:
    query, key, value, _ = inputs(2, 16, torch.float32)
    out, _ = attend(layer(2), query, key, value, None)
    expected, _ = sdpa_attention_forward(layer(2), query, key, value, None)
    assert torch.equal(out, expected)


@pytest.mark.parametrize("name", ["s_aux", "softcap", "position_bias"])
def test_what_it_does_not_compute_is_refused(name: str) -> None:
    query, key, value, mask = inputs(2, 16, torch.float32)
    more: dict[str, Any] = {name: torch.ones(1)}
    with pytest.raises(ValueError, match="neither sinks nor caps"):
        attend(layer(2), query, key, value, mask, cu_seq_lens_q=BOUNDS, **more)
