"""Activations times ternary weights, on a GPU, by the kernels of GemLite (the extra `gpu-ternary`).

Shapes: T tokens, K inputs, N outputs, G inputs per scale.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

MANY = 64
"""Tokens from which weights are dequantised: such products wait for arithmetic, not for memory."""
_NAMES = {torch.float16: "FP16", torch.bfloat16: "BF16"}
_PARTS = 16
"""Into as many parts at most kernels divide the inputs; of the last ones they read scales that are
beyond the end, times activations that are 0."""
_TILE = 1024
"""Outputs that a kernel computes together at most; it reads as many scales."""


def suits(device: torch.device, dtype: torch.dtype, tokens: int, groups: int) -> bool:
    """Whether GemLite multiplies so many ``tokens`` of that type, there, with rows of so many
    ``groups``. The log says once what keeps it from a GPU's."""
    # With one group to a row, its kernels put sums into 16 bits before they are scaled.
    if device.type != "cuda" or not 0 < tokens < MANY or groups == 1:
        return False
    if dtype not in _NAMES:
        _tell("engine.dtype is not bfloat16")
    elif not installed():
        _tell("liveweights[gpu-ternary] is not installed")
    else:
        return True
    return False


@cache
def installed() -> bool:
    """Whether GemLite is there."""
    return find_spec("gemlite") is not None


@cache
def _tell(why: str) -> None:
    log.info("ternary weights are dequantised for each product on the GPU: %s", why)


class DeviceProduct:
    """A matrix as GemLite packs it: two bits a weight, on the device of what it is made from."""

    def __init__(self, codes_NK: Tensor, scales: Tensor, dtype: torch.dtype) -> None:
        """Of codes 0, 1 and 2, one to the byte, and ``scales`` [N, K/G] float16; activations will
        be of ``dtype``, of 16 bits. Raises ImportError without GemLite."""
        library: Any = import_module("gemlite")
        (rows, columns), groups = codes_NK.shape, scales.shape[1]
        self.device, self.dtype = scales.device, dtype
        with torch.cuda.device_of(scales):
            self._layer: Any = library.GemLiteLinear(
                2,
                group_size=columns // groups,
                in_features=columns,
                out_features=rows,
                input_dtype=getattr(library.DType, _NAMES[dtype]),
                # Some kernels add up parts in the memory of the result: in 16 bits that would show.
                output_dtype=library.DType.FP32,
            )
            self._layer.pack(codes_NK, scales, zeros=1)
        room = scales.new_zeros((groups + _PARTS) * rows + _TILE)
        self.bytes = codes_NK.numel() // 4 + room.numel() * room.element_size()
        packed = room[: groups * rows].view(groups, rows)
        self._layer.scales.data = packed.copy_(scales.t())

    def multiply(self, x: Tensor) -> Tensor:
        """[..., N] of ``x`` [..., K], both of ``dtype``; sums are float32."""
        with torch.cuda.device_of(x):
            return self._layer(x).to(self.dtype)
