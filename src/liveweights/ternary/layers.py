"""A model's linear layers and embeddings with ternary weights, as torch modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from liveweights.ternary.device_product import DeviceProduct, suits
from liveweights.ternary.low_rank import LowRank
from liveweights.ternary.product import multiply
from liveweights.weights.ternary.layout import Layout, from_tensors, tensor_shapes
from liveweights.weights.ternary.matrix import CHUNK

_BYTES = CHUNK // 4


class _Stored(torch.nn.Module):
    """Holds a matrix [N, K] as its checkpoint does, and, once it has been read, packed for
    computing: ``codes`` and ``scales`` (``TernaryMatrix``)."""

    codes: Tensor
    scales: Tensor

    def hold(self, rows: int, columns: int, layout: Layout) -> None:
        """Make room. Raises NotTernary for a shape that cannot be packed."""
        for leaf, shape in tensor_shapes(layout, rows, columns).items():
            dtype = torch.float16 if leaf == "scales" else torch.uint8
            self.register_buffer(leaf, torch.empty(shape, dtype=dtype))

    def settle(self) -> None:
        """After reading: pack what came as five trits to the byte. Raises NotTernary."""
        if "trits" not in self._buffers:
            return
        stored = {name: self._buffers[name] for name in ("trits", "scales")}
        matrix = from_tensors({name: t.numpy() for name, t in stored.items() if t is not None})
        del self._buffers["trits"]
        self.register_buffer("codes", torch.from_numpy(matrix.codes))

    def dequantise(self, dtype: torch.dtype) -> Tensor:
        """[N, K]."""
        return unpack(self.codes, self.scales, dtype)


class Packed:
    """A layer's matrix as a GPU's kernels want it, from the first product on. Copies of the layer,
    which have its codes too, share it."""

    def __init__(self) -> None:
        self.product: DeviceProduct | None = None

    def __deepcopy__(self, _memo: object) -> Packed:
        return self

    @property
    def bytes(self) -> int:
        return 0 if self.product is None else self.product.bytes


class TernaryLinear(_Stored, torch.nn.Linear):
    """``torch.nn.Linear`` with frozen ternary weights.

    On a CPU activations are rounded to bytes, a step per 64 of them, and the kernels multiply. On
    a GPU those of a library do where it has any (``device_product``), and weights are packed for it
    at the first product; else they are dequantised for each. Gradients pass to the input as through
    the unrounded product; weights get none.
    """

    bias: torch.nn.Parameter | None  # type: ignore[assignment]

    def __init__(
        self, columns: int, rows: int, layout: Layout, bias: torch.nn.Parameter | None
    ) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = columns, rows
        self.register_parameter("weight", None)
        self.register_parameter("bias", bias)
        self.hold(rows, columns, layout)
        self.packed = Packed()

    def forward(self, input: Tensor) -> Tensor:
        if input.requires_grad and torch.is_grad_enabled():
            product: Any = _Product
            out = product.apply(input, self.codes, self.scales, self)
            return out if self.bias is None else out + self.bias
        return self.multiply(input)

    def multiply(self, x: Tensor, adapter: LowRank | None = None) -> Tensor:
        """[..., N] of ``x`` [..., K], without gradients, and what an adapter adds; that one on a
        CPU alone."""
        # Attributes of modules are looked up more slowly than a small product is computed.
        bias = self._parameters["bias"]
        out = self.product(x, adapter)
        return out if bias is None else out + bias

    def product(self, x: Tensor, adapter: LowRank | None = None) -> Tensor:
        """``multiply`` without the bias."""
        codes: Any = self._buffers["codes"]
        scales: Any = self._buffers["scales"]
        if x.is_cpu:
            out = multiply(x.float().contiguous(), codes, scales, adapter)
            return out if x.dtype == torch.float32 else out.to(x.dtype)
        if suits(x.device, x.dtype, x.numel() // self.in_features, scales.shape[1]):
            return self._pack(x).multiply(x)
        return torch.nn.functional.linear(x, self.dequantise(x.dtype))

    def _pack(self, x: Tensor) -> DeviceProduct:
        product = self.packed.product
        if product is None or (product.device, product.dtype) != (x.device, x.dtype):
            product = DeviceProduct(_spread(self.codes), self.scales, x.dtype)
            self.packed.product = product
        return product

    @property
    def qweight(self) -> Tensor:
        """The codes, under the name by which PEFT looks for quantised weights: an adapter is put on
        the device where they are."""
        return self.codes

    def reset_parameters(self) -> None:
        """There are none."""


class TernaryEmbedding(_Stored):
    """``torch.nn.Embedding`` with frozen ternary weights: rows are dequantised as they are asked
    for, in the precision ``dtype``."""

    def __init__(self, rows: int, columns: int, layout: Layout, dtype: torch.dtype) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = rows, columns
        self._dtype = dtype
        self.hold(rows, columns, layout)

    def forward(self, input: Tensor) -> Tensor:
        ids = input.reshape(-1)
        rows = unpack(self.codes[ids], self.scales[ids], self._dtype)
        return rows.reshape(*input.shape, -1)


def is_plain(module: torch.nn.Module) -> bool:
    """Whether it is a linear layer or an embedding, and computes as ternary ones do: those of some
    families scale or normalise besides."""
    forward = type(module).forward
    return forward is torch.nn.Linear.forward or forward is torch.nn.Embedding.forward


def unpack(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """The values [N, K] of packed rows."""
    rows, groups = scales.shape
    trits = _spread(codes).to(dtype).sub_(1).reshape(rows, groups, -1)
    return (trits * scales[..., None].to(dtype)).reshape(rows, -1)


def _spread(codes: Tensor) -> Tensor:
    """0, 1 and 2, one to the byte: [N, K]."""
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=codes.device)
    parts = (codes.reshape(len(codes), -1, 1, _BYTES) >> shifts[:, None]) & 3
    return parts.reshape(len(codes), -1)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scales: Tensor, layer: TernaryLinear) -> Tensor:
        ctx.save_for_backward(codes, scales)
        return layer.product(x.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        codes, scales = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return gradient @ unpack(codes, scales, gradient.dtype), None, None, None
