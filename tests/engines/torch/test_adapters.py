"""Served adapters against PEFT's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from liveweights.engines.torch.adapters import (
    AdaptedLinear,
    AdaptedTernaryLinear,
    replace_adapted,
)
from liveweights.ternary.layers import TernaryLinear
from liveweights.weights.ternary.layout import Layout


class Small(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10, bias=True, dtype=dtype)
        self.second = nn.Linear(10, 4, bias=False, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Ternary(nn.Module):
    """One layer: what the next one makes of it would depend on which bytes it is rounded to."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        bias = nn.Parameter(torch.randn(77, dtype=dtype))
        self.first = TernaryLinear(192, 77, Layout(group_size=64), bias)
        random = torch.randint(0, 2, self.first.codes.shape, dtype=torch.uint8)
        self.first.codes.copy_(random * 0x55)
        self.first.scales.fill_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x)


def adapt(model: nn.Module, *, stored: torch.dtype = torch.float16, **options: Any) -> Any:
    torch.manual_seed(0)
    settings = {"target_modules": ["first", "second"], "r": 3, "lora_alpha": 7, **options}
    adapted: Any = get_peft_model(model, LoraConfig(**settings))  # type: ignore[arg-type]
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weight)
            weight.data = weight.data.to(stored).float()
    return adapted.eval().requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(6,), (1, 1, 6), (3, 5, 6), (0, 6)], ids=str)
def test_they_compute_what_peft_does(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    peft = adapt(Small(dtype), lora_dropout=0.1)
    served = copy.deepcopy(peft)
    assert replace_adapted(served) == 2
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected, found = peft(x), served(x)
    assert found.dtype == expected.dtype == dtype
    assert torch.allclose(found, expected, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-5)


@pytest.mark.parametrize("stored", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(192,), (1, 1, 192), (3, 5, 192), (50, 192)], ids=str)
def test_so_they_do_beside_ternary_layers(
    dtype: torch.dtype, shape: tuple[int, ...], stored: torch.dtype
) -> None:
    pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")
    from liveweights.ternary.compilation import reads_halves

    peft = adapt(Ternary(dtype), stored=stored, target_modules=["first"])
    served = copy.deepcopy(peft)
    assert replace_adapted(served) == 1
    layer = served.base_model.model.first
    assert isinstance(layer, AdaptedTernaryLinear)
    assert layer.up_RN.dtype == (stored if reads_halves() else torch.float32)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected, found = peft(x), served(x)
    assert found.dtype == expected.dtype == dtype
    # PEFT rounds the layer's own part and the sum to bfloat16, the kernel the sum alone.
    allowed = 1e-4 if dtype == torch.float32 else float(expected.abs().max()) * 2**-7
    assert torch.allclose(found, expected, rtol=1e-5, atol=allowed)


def test_they_hold_one_copy_of_the_adapter_and_the_layer_itself() -> None:
    peft = adapt(Small(torch.float32))
    base, held = peft.base_model.model.first.base_layer, sum(p.numel() for p in peft.parameters())
    replace_adapted(peft)
    layer = peft.base_model.model.first
    assert isinstance(layer, AdaptedLinear)
    assert layer.base_layer is base
    assert layer.weight is base.weight
    assert layer.bias is base.bias
    tensors = (*peft.parameters(), *peft.buffers())
    assert sum(tensor.numel() for tensor in tensors) == held


@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"lora_bias": True, "target_modules": ["first"]}], ids=str
)
def test_what_is_more_than_low_rank_stays_peft_s(options: dict[str, Any]) -> None:
    assert replace_adapted(adapt(Small(torch.float32), **options)) == 0


def test_what_is_merged_switched_off_or_one_of_two_stays_peft_s() -> None:
    merged, off, two = (adapt(Small(torch.float32)) for _ in range(3))
    merged.merge_adapter()
    off.base_model.disable_adapter_layers()
    two.add_adapter("other", LoraConfig(r=2, target_modules=["first", "second"]))
    two.base_model.set_adapter(["default", "other"])
    assert [replace_adapted(one) for one in (merged, off, two)] == [0, 0, 0]
