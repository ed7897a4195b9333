from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from liveweights.learn.updaters.adapted import fuse


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10, bias=True)
        self.second = nn.Linear(10, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(**options: Any) -> PeftModel:
    torch.manual_seed(0)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"], **options)
    model: Any = get_peft_model(Small(), config)  # type: ignore[arg-type]
    for name, weight in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weight)
    return model.eval()


X = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(2))


def answer(model: Any, x: torch.Tensor = X) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The output, and gradients by the input and by the adapter."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    out = model(x)
    out.float().square().sum().backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return out.detach(), {**found, "x": x.grad}


def assert_alike(one: Any, other: Any, error: float) -> None:
    assert torch.allclose(one[0].float(), other[0], atol=error * float(other[0].abs().max()))
    assert one[1].keys() == other[1].keys()
    for name, gradient in other[1].items():
        assert one[1][name].dtype == gradient.dtype or name == "x"
        difference = (one[1][name].float() - gradient).abs().max()
        assert float(difference) <= error * float(gradient.abs().max()), name


def test_it_computes_what_peft_does() -> None:
    plain, fused = adapted(), adapted()
    assert fuse(fused) == 2
    expected = answer(plain)
    assert_alike(answer(fused), expected, 1e-5)
    with plain.disable_adapter(), fused.disable_adapter():
        assert torch.equal(fused(X), plain(X))
        assert not torch.allclose(fused(X), expected[0])
    assert torch.allclose(fused(X), expected[0], atol=1e-5)


def test_a_base_in_bfloat16_has_an_adapter_in_float32() -> None:
    plain, fused = adapted(), adapted()
    for name, weight in fused.named_parameters():
        if "lora_" not in name:
            weight.data = weight.data.bfloat16()
    assert fuse(fused) == 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fused(X).dtype == torch.bfloat16
        found = answer(fused)
    assert_alike(found, answer(plain), 0.05)


@pytest.mark.parametrize(
    "options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}]
)
def test_what_is_more_than_that_stays_pefts(options: dict[str, Any]) -> None:
    model = adapted(**options)
    before = answer(model)
    assert fuse(model) == 0
    assert_alike(answer(model), before, 0.0)
