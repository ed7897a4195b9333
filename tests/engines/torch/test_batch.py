"""Rows that come and go must each get what they would get alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from liveweights.engines.torch.batch import Batch, is_plain, prefill

SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()


@torch.inference_mode()
def test_rows_at_different_places(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)

    def random(count: int) -> list[int]:
        return torch.randint(0, 64, (count,), generator=generator).tolist()

    def alone(ids: list[int]) -> torch.Tensor:
        return model(torch.tensor([ids])).logits[0, -1]

    batch = Batch(model)
    rows: list[list[int]] = []

    def join(length: int) -> None:
        ids = random(length)
        logits_V, cache = prefill(model, ids, 0, [])
        assert is_plain(cache)
        torch.testing.assert_close(logits_V, alone(ids), atol=1e-5, rtol=1e-4)
        batch.join(cache)
        rows.append(ids)

    def step(count: int = 1, keep: int = 1) -> None:
        """Each row goes on by ``count`` tokens, and takes back all but ``keep``."""
        more = [random(count) for _ in rows]
        logits_BTV = batch.forward(more)
        for ids, tokens, logits_TV in zip(rows, more, logits_BTV, strict=True):
            for place in range(count):
                expected_V = alone([*ids, *tokens[: place + 1]])
                torch.testing.assert_close(logits_TV[place], expected_V, atol=1e-5, rtol=1e-4)
            ids += tokens[:keep]
        batch.advance([keep] * len(rows))

    def leave(row: int) -> None:
        batch.leave(row)
        rows[row] = rows[-1]
        rows.pop()

    join(5)
    step()
    step(4, keep=2)
    step(3, keep=3)
    join(300)  # beyond the room that there was
    join(1)
    step()
    step()
    leave(1)  # the longest
    step()
    join(40)
    leave(0)
    step()
    leave(1)
    leave(0)
    assert len(batch) == 0
    join(3)
    step()


@torch.inference_mode()
def test_a_prompt_goes_on_from_a_row(model: Any) -> None:
    ids = list(range(20))
    batch = Batch(model)
    batch.join(prefill(model, ids, 0, [])[1])
    batch.forward([[33, 34]])
    batch.advance([1])
    assert batch.read(0)[0][0].data_ptr() == batch.read(0)[0][0].data_ptr()  # no copy: it is large
    layers = [(keys.clone(), values.clone()) for keys, values in batch.read(0)]
    other = [*ids[:15], 40, 41]
    logits_V, cache = prefill(model, other, 15, layers)
    expected_V = model(torch.tensor([other])).logits[0, -1]
    torch.testing.assert_close(logits_V, expected_V, atol=1e-5, rtol=1e-4)
    batch.join(cache)
    batch.forward([[1], [2]])
    batch.advance([1, 1])
    assert [tuple(keys.shape) for keys, _ in batch.read(0)] == [(1, 2, 22, 8)] * 2
    assert [tuple(keys.shape) for keys, _ in layers] == [(1, 2, 21, 8)] * 2


@torch.inference_mode()
def test_a_sliding_window_is_not_plain() -> None:
    model = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)).eval()
    assert not is_plain(prefill(model, [1, 2, 3], 0, [])[1])
