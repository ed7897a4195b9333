from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from liveweights.engines.torch import attention


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    rows=st.integers(1, 3),
    heads=st.integers(1, 3),
    shared=st.integers(1, 3),
    held=st.integers(1, 9),
    new=st.integers(1, 2),
    mask=st.sampled_from(["none", "bool", "float"]),
    apart=st.booleans(),
)
def test_it_is_pytorchs_attention(
    rows: int, heads: int, shared: int, held: int, new: int, mask: str, apart: bool
) -> None:
    query = draw(1, rows, heads * shared, new, 8)
    key, value = (draw(seed, rows, heads, held + 3, 8)[:, :, :held] for seed in (2, 3))
    masked = heads * shared if apart else 1
    seen = torch.rand(rows, masked, new, held, generator=torch.Generator().manual_seed(4)) < 0.5
    seen[..., 0] = True
    masks = {
        "none": None,
        "bool": seen,
        "float": torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, -torch.inf),
    }
    module: Any = SimpleNamespace(num_key_value_groups=shared, is_causal=True)
    arguments: Any = (module, query, key, value, masks[mask])
    expected, _ = sdpa_attention_forward(*arguments, scaling=0.3)
    found, _ = attention.attend(*arguments, scaling=0.3)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-6)
    assert key.equal(draw(2, rows, heads, held + 3, 8)[:, :, :held])


def test_what_it_does_not_compute_is_transformers_own() -> None:
    query, key = draw(1, 1, 2, 1, 8), draw(2, 1, 2, 5, 8)
    bias = draw(3, 1, 2, 1, 5)
    module: Any = SimpleNamespace(num_key_value_groups=1, is_causal=True)
    arguments: Any = (module, query, key, key, None)
    expected, _ = sdpa_attention_forward(*arguments, position_bias=bias)
    found, _ = attention.attend(*arguments, position_bias=bias)
    assert found.equal(expected)
    assert not found.allclose(attention.attend(*arguments)[0])


def test_models_take_it_in_the_place_of_pytorchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config).eval()
    calls: list[int] = []
    inner = attention.attend

    def attend(module: Any, query: torch.Tensor, *rest: Any, **named: Any) -> Any:
        calls.append(query.shape[2])
        return inner(module, query, *rest, **named)

    ids = torch.tensor([[1, 2, 3, 4, 5]])
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", sdpa_attention_forward)
    with torch.inference_mode():
        expected = model(input_ids=ids).logits[0, -1]
        monkeypatch.setattr(attention, "attend", attend)
        attention.register()
        cache = model(input_ids=ids[:, :4], use_cache=True).past_key_values
        found = model(input_ids=ids[:, 4:], past_key_values=cache).logits[0, -1]
    assert calls == [4, 4, 1, 1]
    assert torch.allclose(found, expected, atol=1e-5)
