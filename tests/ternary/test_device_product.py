"""GemLite's kernels, interpreted, against plain arithmetic; `make test-gemlite` runs this with the
package. And which products they are asked for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.sharing.tiny import write_adapter
from tests.ternary.interpreted import make_layer
from tests.weights.ternary.drawing import draw_matrix
from tests.weights.ternary.models import write_ternary

from liveweights.engines.settings import EngineSettings
from liveweights.engines.ternary.engine import TernaryEngine
from liveweights.ternary import device_product, layers
from liveweights.ternary.device_product import MANY, suits
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find
from liveweights.weights.ternary.matrix import TernaryMatrix

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
ROWS = 200
"""No multiple of a kernel's tile."""
SHAPES = ((64, 576), (128, 384), (256, 512))
"""Inputs that share a scale, and inputs: of the first two some are left over by what kernels read
at once."""
TOKENS = (1, 2, 5, 63)
"""Up to four go to one kernel, more to another."""
LOST = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""What rounding to the type takes of a number at most."""


def draw(dtype: str, *shape: int) -> NDArray[np.float32]:
    """Numbers that the type has."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return drawn.to(getattr(torch, dtype)).float().numpy()


def draw_rounded(seed: int, columns: int, group: int, dtype: str) -> TernaryMatrix:
    """With scales that the type has, too: Triton's interpreter does not round to bfloat16 as a
    GPU does."""
    matrix = draw_matrix(seed, ROWS, columns, group)
    scales = torch.from_numpy(matrix.scales).to(getattr(torch, dtype)).half().numpy()
    return TernaryMatrix(matrix.codes, scales)


def run(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if find_spec("gemlite") is None:
        pytest.skip("needs GemLite: run `make test-gemlite`")
    given = {f"{case}/{name}": a for case, arrays in cases.items() for name, a in arrays.items()}
    np.savez(folder / "cases.npz", **given)
    done = subprocess.run(
        [sys.executable, "-m", "tests.ternary.interpreted", "cases.npz", "results.npz"],
        cwd=folder,
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(Path(__file__).parents[2]), *sys.path])
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "results.npz"))


def arrays(matrix: TernaryMatrix) -> dict[str, Any]:
    return {"codes": matrix.codes, "scales": matrix.scales}


def assert_close(found: Any, x: Any, weight_NK: Any, dtype: str, added: Any = 0.0) -> None:
    """As close as sums of float32 numbers are that were rounded to the type before and after
    something was added to them."""
    product = x.astype(np.float64) @ weight_NK.T
    magnitudes = np.abs(x).astype(np.float64) @ np.abs(weight_NK).T
    assert found.shape == product.shape
    bound = magnitudes * 2e-6 + (np.abs(product) + np.abs(product + added)) * LOST[dtype]
    assert (np.abs(found - product - added) <= bound).all()


@pytest.mark.parametrize("dtype", LOST)
def test_kernels_compute_what_plain_arithmetic_does(dtype: str, tmp_path: Path) -> None:
    drawn = {
        f"{dtype}/{group}/{tokens}": (draw_rounded(group, columns, group, dtype), tokens)
        for group, columns in SHAPES
        for tokens in TOKENS
    }
    cases = {
        case: {**arrays(matrix), "x": draw(dtype, tokens, matrix.shape[1])}
        for case, (matrix, tokens) in drawn.items()
    }
    found = run(tmp_path, cases)
    for case, (matrix, _) in drawn.items():
        assert found[f"{case}/products"] == 1
        assert_close(found[f"{case}/out"], cases[case]["x"], matrix.dequantise(), dtype)
        beyond = found[f"{case}/beyond"]
        assert len(beyond) >= 16 * ROWS + 1024  # kernels read so much of it
        assert not beyond.any()


def test_biases_batches_and_gradients_stay_right(tmp_path: Path) -> None:
    matrix, case = draw_rounded(3, 384, 128, "bfloat16"), "bfloat16/layer"
    given = {
        **arrays(matrix),
        "x": draw("bfloat16", 2, 3, 384),
        "bias": draw("bfloat16", ROWS),
        "gradient": draw("bfloat16", 2, 3, ROWS),
    }
    found = run(tmp_path, {case: given})
    weight = matrix.dequantise()
    assert found[f"{case}/products"] == 1
    assert_close(found[f"{case}/out"], given["x"], weight, "bfloat16", given["bias"])
    assert_close(found[f"{case}/x_gradient"], given["gradient"], weight.T, "bfloat16")


@pytest.fixture
def gemlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_product, "installed", lambda: True)


@pytest.mark.usefixtures("gemlite")
def test_few_tokens_of_16_bits_are_the_kernels() -> None:
    assert suits(CUDA, torch.bfloat16, 1, 4)
    assert suits(CUDA, torch.float16, MANY - 1, 4)
    assert not suits(CUDA, torch.bfloat16, MANY, 4)
    assert not suits(CUDA, torch.bfloat16, 0, 4)
    assert not suits(CUDA, torch.bfloat16, 1, 1)
    assert not suits(CPU, torch.bfloat16, 1, 4)
    assert not suits(torch.device("mps"), torch.bfloat16, 1, 4)


def told(caplog: pytest.LogCaptureFixture, dtype: torch.dtype) -> str:
    device_product._tell.cache_clear()
    with caplog.at_level("INFO", logger=device_product.__name__):
        assert not suits(CUDA, dtype, 1, 4)
        assert not suits(CUDA, dtype, 1, 4)
    [message] = caplog.messages
    return message


@pytest.mark.usefixtures("gemlite")
def test_the_log_says_once_that_the_type_is_too_wide(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, torch.float32).endswith("engine.dtype is not bfloat16")


def test_the_log_says_once_that_the_kernels_are_missing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_product, "installed", lambda: False)
    assert told(caplog, torch.bfloat16).endswith("liveweights[gpu-ternary] is not installed")


@pytest.mark.usefixtures("gemlite")
def test_a_device_that_has_no_kernels_gets_dequantised_weights() -> None:
    matrix = draw_matrix(4, 5, 128, 64)
    layer = make_layer(torch.from_numpy(matrix.codes), torch.from_numpy(matrix.scales))
    layer.to("meta")
    assert layer(torch.empty(2, 3, 128, dtype=torch.bfloat16, device="meta")).shape == (2, 3, 5)


class Counted:
    """Stands for what a GPU's kernels take."""

    made = 0
    bytes = 1000

    def __init__(self, codes_NK: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> None:
        Counted.made += 1
        self.device, self.dtype = scales.device, dtype


def test_a_base_is_packed_once_for_all_adapters_and_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")
    monkeypatch.setattr(layers, "DeviceProduct", Counted)
    monkeypatch.setattr(Counted, "made", 0)
    base = find(str(write_ternary(tmp_path, "llama", 64)), tmp_path / "cache")
    adapters = [write_adapter(base, tmp_path / f"a{n}", seed=n).checkpoint for n in range(2)]
    settings = EngineSettings(kind="ternary", context_length=64, threads=1)

    def pack(engine: TernaryEngine, checkpoint: Checkpoint) -> None:
        model = engine._find(checkpoint.id).model
        for layer in model.modules():
            if isinstance(layer, layers.TernaryLinear):
                layer._pack(torch.ones(1, layer.in_features, dtype=torch.bfloat16))

    async def go() -> None:
        engine = TernaryEngine(base, tmp_path, settings)
        await engine.load(adapters[0], base)
        before = engine.memory()
        pack(engine, adapters[0])
        await engine.load(base)
        await engine.load(adapters[1], base)
        for checkpoint in (base, adapters[1]):
            pack(engine, checkpoint)
        assert Counted.made == 14
        await engine.unload(adapters[1].id)
        await engine.unload(base.id)
        assert engine.memory() == before + 14 * Counted.bytes
        await engine.close()

    asyncio.run(go())
