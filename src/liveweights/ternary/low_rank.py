"""What a low-rank adapter adds to a product, on a CPU.

Shapes: T tokens, K inputs, R rank, N outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liveweights.ternary.compilation import reads_halves

MANY = 32
"""Tokens beyond which torch's products are faster, also where weights are made float32 for them."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """scale * (x @ down.T) @ up. Both matrices are contiguous, and float16 or both float32."""

    down_RK: Tensor
    up_RN: Tensor
    scale: float

    @classmethod
    def halved(cls, down_RK: Tensor, up_RN: Tensor, scale: float) -> LowRank:
        """Of float32, as float16 where nothing is lost by it and this processor reads it. Raises
        NoCompiler."""
        given = down_RK, up_RN
        halves = down_RK.half(), up_RN.half()
        exact = all(torch.equal(one.float(), two) for one, two in zip(halves, given, strict=True))
        return cls(*(halves if exact and reads_halves() else given), scale)

    def arguments(self) -> tuple[int, int, int, float]:
        """``job.ADAPTER_ARGUMENTS``."""
        return self.down_RK.data_ptr(), self.up_RN.data_ptr(), len(self.down_RK), self.scale

    def add(self, out: Tensor, x: Tensor) -> None:
        """Add it to ``out`` [..., N], in place, of ``x`` [..., K], by torch's products."""
        down_RK, up_RN = self.down_RK.float(), self.up_RN.float()
        hidden_TR = torch.nn.functional.linear(x.view(-1, x.shape[-1]), down_RK)
        out.view(-1, out.shape[-1]).addmm_(hidden_TR, up_RN, alpha=self.scale)
