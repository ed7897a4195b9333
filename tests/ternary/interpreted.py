"""GemLite's kernels where there is no GPU, by Triton's interpreter: a process of its own, because
what stands in for the GPU does so for the whole process.

    TRITON_INTERPRET=1 python -m tests.ternary.interpreted CASES.npz RESULTS.npz
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liveweights.ternary import device_product, layers
from liveweights.ternary.device_product import DeviceProduct
from liveweights.weights.ternary.layout import Layout


class StandIn:
    """What Triton and GemLite ask of a GPU's driver. Of the ways to compute a product that GemLite
    would try, each shows itself faster than those before it: those with the largest tiles, which
    are beyond the edges of small matrices, are interpreted, and soonest done."""

    utils = SimpleNamespace(get_device_properties=lambda device: {"max_shared_mem": 100 << 10})

    def __init__(self) -> None:
        self._tried = count()

    def get_current_target(self) -> Any:
        return SimpleNamespace(backend="cuda", arch=80, warp_size=32)

    def get_benchmarker(self) -> Callable[..., list[float]]:
        return lambda run, **options: [1.0 / (1 + next(self._tried))] * 3


def stand_in() -> None:
    """Before GemLite is imported, which asks what the GPU is."""
    import triton
    from triton.runtime import interpreter

    properties = SimpleNamespace(name="none", multi_processor_count=1)
    torch.cuda.get_device_capability = lambda device=None: (8, 0)
    torch.cuda.get_device_properties = lambda device=None: properties  # type: ignore[assignment]
    triton.runtime.driver.set_active(StandIn())
    multiply = interpreter.InterpreterBuilder.create_dot

    def read(handle: Any) -> Any:
        if handle.dtype.scalar != triton.language.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), triton.language.float32)

    # The interpreter multiplies the bits of bfloat16 as if they were whole numbers.
    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return multiply(self, read(a), read(b), *rest)

    interpreter.InterpreterBuilder.create_dot = create_dot


def make_layer(
    codes: Tensor, scales: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32
) -> layers.TernaryLinear:
    rows, groups = scales.shape
    columns = codes.shape[1] * 4
    held = None if bias is None else torch.nn.Parameter(bias.to(dtype), requires_grad=False)
    layer = layers.TernaryLinear(columns, rows, Layout(group_size=columns // groups), held)
    layer.codes.copy_(codes)
    layer.scales.copy_(scales)
    return layer


def compute(given: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Results of a case, and the gradient of its input where it has one of the output."""
    layer = make_layer(given["codes"], given["scales"], given.get("bias"), dtype)
    x = given["x"].to(dtype)
    if "gradient" not in given:
        return {"out": layer(x)}
    x.requires_grad_()
    out = layer(x)
    out.backward(given["gradient"].to(dtype))
    return {"out": out.detach(), "x_gradient": x.grad}  # type: ignore[dict-item]


class Watched(DeviceProduct):
    """Notes that it was asked, and what lies in memory after its scales."""

    asked = 0
    beyond = np.empty(0, np.float16)

    def multiply(self, x: Tensor) -> Tensor:
        Watched.asked += 1
        scales: Tensor = self._layer.scales
        room = scales.untyped_storage().nbytes() // scales.element_size() - scales.numel()
        Watched.beyond = scales.as_strided((room,), (1,), scales.numel()).numpy().copy()
        return super().multiply(x)


def main(cases: str, results: str) -> None:
    stand_in()
    suits = device_product.suits
    layers.suits = lambda device, *rest: suits(torch.device("cuda"), *rest)
    layers.DeviceProduct = Watched  # type: ignore[misc]
    named: dict[str, dict[str, Tensor]] = {}
    for key, array in np.load(cases).items():
        case, _, name = key.rpartition("/")
        named.setdefault(case, {})[name] = torch.from_numpy(array)
    found: dict[str, Any] = {}
    for case, given in named.items():
        dtype = getattr(torch, case.partition("/")[0])
        Watched.asked = 0
        for name, result in compute(given, dtype).items():
            assert result.dtype == dtype
            found[f"{case}/{name}"] = result.float().numpy()
        found |= {f"{case}/products": Watched.asked, f"{case}/beyond": Watched.beyond}
    np.savez(results, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
