"""Adapted linear layers as they are served.

PEFT's can switch, mix, merge and learn adapters; asking what of it is wanted takes longer than a
token's product with a small matrix. Shapes: T tokens, K inputs, R rank, N outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from liveweights.ternary.layers import TernaryLinear
from liveweights.ternary.low_rank import LowRank


class AdaptedLinear(torch.nn.Module):
    """y + scale * up(down x) of a layer's y, without gradients. ``down`` and ``up`` are float32,
    and so is what is computed with them, whatever the layer's precision."""

    down_RK: Tensor
    up_RN: Tensor

    def __init__(self, base: Any, down_RK: Tensor, up_RN: Tensor, scale: float) -> None:
        super().__init__()
        self.base_layer = base
        self.scale = scale
        self.register_buffer("down_RK", down_RK.contiguous())
        self.register_buffer("up_RN", up_RN.contiguous())

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor = self.base_layer(x, *args, **kwargs)
        x_TK = x.reshape(-1, x.shape[-1]).to(self.down_RK.dtype)
        y_TN = y.reshape(-1, y.shape[-1]).to(self.down_RK.dtype)
        hidden_TR = F.linear(x_TK, self.down_RK)
        out = torch.addmm(y_TN, hidden_TR, self.up_RN, alpha=self.scale)
        return out.to(y.dtype).view(y.shape)

    @property
    def weight(self) -> Any:
        """The layer's own, which some models look at."""
        return self.base_layer.weight

    @property
    def bias(self) -> Any:
        """The layer's own."""
        return self.base_layer.bias


class AdaptedTernaryLinear(AdaptedLinear):
    """The same of a ternary layer on a CPU, by a kernel. ``down`` and ``up`` are held in 16 bits
    where nothing is lost by it. Raises NoCompiler."""

    def __init__(self, base: TernaryLinear, down_RK: Tensor, up_RN: Tensor, scale: float) -> None:
        adapter = LowRank.halved(down_RK.contiguous(), up_RN.contiguous(), scale)
        super().__init__(base, adapter.down_RK, adapter.up_RN, scale)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        base: Any = self._modules["base_layer"]
        down_RK: Any = self._buffers["down_RK"]
        up_RN: Any = self._buffers["up_RN"]
        return base.multiply(x, LowRank(down_RK, up_RN, self.scale))


def replace_adapted(model: Any) -> int:
    """Put such layers in the place of a PEFT model's, in place, where they are linear layers with
    one adapter that is y + scale * up(down x) when it is not learnt; how many were. Others stay as
    they are. Raises NoCompiler."""
    replaced = 0
    for owner in list(model.modules()):
        for name, module in list(owner.named_children()):
            if _is_plain(module):
                setattr(owner, name, _make(module))
                replaced += 1
    return replaced


def _is_plain(module: Any) -> bool:
    from peft.tuners.lora.layer import Linear

    if type(module) is not Linear or len(module.active_adapters) != 1:
        return False
    (name,) = module.active_adapters
    if name not in module.lora_A or name in module.lora_variant:
        return False
    down: Any = module.lora_A[name]
    up: Any = module.lora_B[name]
    return (
        down.weight.dtype == up.weight.dtype == torch.float32
        and up.bias is None
        and module.cast_input_dtype_enabled
        and not (module.merged or module.disable_adapters or module.fan_in_fan_out)
    )


def _make(module: Any) -> AdaptedLinear:
    (name,) = module.active_adapters
    base = module.get_base_layer()
    down_RK = module.lora_A[name].weight.detach()
    up_RN = module.lora_B[name].weight.detach().t().contiguous()
    on_cpu = isinstance(base, TernaryLinear) and base.codes.device.type == "cpu"
    kind = AdaptedTernaryLinear if on_cpu else AdaptedLinear
    return kind(base, down_RK, up_RN, module.scaling[name])
