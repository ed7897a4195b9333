"""A linear layer with a low-rank adapter as one operation.

PEFT computes it as six, with the adapter's copy of the input in the adapter's own precision. As
one operation it keeps for the backward pass nothing but the input and the input's projection, as
in Unsloth (github.com/unslothai/unsloth, kernels/fast_lora.py). Shapes: N tokens, I inputs, O
outputs, R rank.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def fuse(model: Any) -> int:
    """Let a PEFT model's adapted linear layers compute so, in place; how many do."""
    from peft.tuners.lora import Linear

    fused = 0
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _is_plain(module: Any) -> bool:
    """Whether it is y = Wx + b + s B A x, and nothing else."""
    name, *others = module.active_adapters
    return (
        not others
        and type(module.base_layer) is torch.nn.Linear
        and not module.base_layer.weight.requires_grad
        and name in module.lora_A
        and name not in module.lora_variant
        and isinstance(module.lora_dropout[name], torch.nn.Identity)
        and module.lora_B[name].bias is None
    )


def _forward(module: Any, x: Tensor) -> Tensor:
    base = module.base_layer
    if module.disable_adapters or module.merged:
        return base(x)
    (name,) = module.active_adapters
    a, b = module.lora_A[name].weight, module.lora_B[name].weight
    kind: Any = _Adapted
    return kind.apply(x, base.weight, base.bias, a, b, module.scaling[name])


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        a_RI: Tensor,
        b_OR: Tensor,
        scale: float,
    ) -> Tensor:
        dtype = weight_OI.dtype
        x_NI = x.reshape(-1, x.shape[-1]).to(dtype)
        a_RI, b_OR = a_RI.to(dtype), b_OR.to(dtype)
        out_NO = F.linear(x_NI, weight_OI, bias_O)
        low_NR = F.linear(x_NI, a_RI)
        out_NO.addmm_(low_NR, b_OR.t(), alpha=scale)
        ctx.save_for_backward(x_NI, low_NR, weight_OI, a_RI, b_OR)
        ctx.scale, ctx.shape = scale, x.shape
        return out_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x_NI, low_NR, weight_OI, a_RI, b_OR = ctx.saved_tensors
        out_NO = gradient.reshape(-1, gradient.shape[-1])
        by_low_NR = (out_NO @ b_OR) * ctx.scale
        by_b_OR = (out_NO.t() @ low_NR).float() * ctx.scale
        by_a_RI = (by_low_NR.t() @ x_NI).float()
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = (out_NO @ weight_OI).addmm_(by_low_NR, a_RI).view(ctx.shape)
        return by_x, None, None, by_a_RI, by_b_OR, None
