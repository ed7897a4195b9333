"""Kernels against plain arithmetic."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.weights.ternary.drawing import draw_matrix

from liveweights.ternary import compilation, threads
from liveweights.ternary.instructions import KNOWN, Instructions, choose
from liveweights.ternary.product import multiply, multiply_exactly
from liveweights.weights.ternary.matrix import TernaryMatrix

llvmlite = pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")

from liveweights.ternary.compilation import host  # noqa: E402

HERE = [one for one in KNOWN if all(host()[1].get(name, False) for name in one.needs)]
"""What this processor can run, always with the portable one."""


def compute(
    x_TK: NDArray[np.float32], matrix: TernaryMatrix, instructions: Instructions
) -> NDArray[np.float32]:
    codes, scales = torch.from_numpy(matrix.codes), torch.from_numpy(matrix.scales)
    return multiply(torch.from_numpy(x_TK), codes, scales, instructions=instructions).numpy()


def draw_activations(seed: int, tokens: int, columns: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(tokens, columns)).astype(np.float32)


def bound(x_TK: NDArray[np.float32], matrix: TernaryMatrix) -> NDArray[np.float64]:
    """How far sums of so many float32 numbers may be off: their magnitudes times what rounding
    loses of each."""
    magnitudes = np.abs(x_TK).astype(np.float64) @ np.abs(matrix.dequantise()).T
    return (magnitudes + 1e-6) * 2e-6


@settings(max_examples=60)
@given(
    st.sampled_from(HERE),
    st.sampled_from([64, 128, 256]),
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.integers(1, 11),
    st.integers(1, 6),
)
def test_a_kernel_computes_what_plain_arithmetic_does(
    instructions: Instructions, group: int, seed: int, tokens: int, rows: int, groups: int
) -> None:
    matrix = draw_matrix(seed, rows, groups * group, group)
    x_TK = draw_activations(seed, tokens, groups * group)
    difference = np.abs(compute(x_TK, matrix, instructions) - multiply_exactly(x_TK, matrix))
    assert (difference <= bound(x_TK, matrix)).all()


@pytest.mark.parametrize("instructions", HERE, ids=lambda one: one.name)
def test_extremes_do_not_overflow(instructions: Instructions) -> None:
    trits = np.ones((5, 1024), np.int8)
    trits[1] = -1
    matrix = TernaryMatrix.pack(trits, np.ones((5, 8), np.float16))
    x_TK = np.full((3, 1024), 2.0, np.float32)
    x_TK[1] = -2.0
    x_TK[2] = 0.0
    out = compute(x_TK, matrix, instructions)
    assert out[:, 0] == pytest.approx([2048.0, -2048.0, 0.0], rel=1e-6)
    assert out[:, 1] == pytest.approx([-2048.0, 2048.0, 0.0], rel=1e-6)


@pytest.mark.parametrize("instructions", HERE, ids=lambda one: one.name)
def test_a_token_gives_the_same_alone_and_among_others(instructions: Instructions) -> None:
    matrix = draw_matrix(5, 7, 576, 64)
    x_TK = draw_activations(5, 6, 576)
    together = compute(x_TK, matrix, instructions)
    for token in range(6):
        assert np.array_equal(compute(x_TK[token : token + 1], matrix, instructions)[0],
                              together[token])  # fmt: skip


@pytest.mark.parametrize("own", [False, True], ids=["openmp", "own"])
def test_several_threads_give_what_one_does(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if own:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    threads.runner.cache_clear()
    matrix = draw_matrix(6, 1001, 512, 128)
    x_TK = draw_activations(6, 9, 512)
    before = torch.get_num_threads()
    try:
        results: list[NDArray[np.float32]] = []
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(compute(x_TK, matrix, HERE[0]))
    finally:
        torch.set_num_threads(before)
        threads.runner.cache_clear()
    assert np.array_equal(*results)


def test_where_no_thread_is_to_be_had_one_computes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    gone = ThreadPoolExecutor(1)
    gone.shutdown()
    monkeypatch.setattr(threads, "_pool", lambda: gone)
    threads.runner.cache_clear()
    matrix, x_TK = draw_matrix(7, 1001, 512, 128), draw_activations(7, 3, 512)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compute(x_TK, matrix, HERE[0])
        torch.set_num_threads(3)
        assert np.array_equal(compute(x_TK, matrix, HERE[0]), alone)
    finally:
        torch.set_num_threads(before)
        threads.runner.cache_clear()


def test_the_fastest_that_a_processor_has_is_chosen() -> None:
    arm, old = {"neon": True, "dotprod": True}, {"sse2": True}
    haswell = {"avx2": True, "fma": True, "f16c": True}
    server = {**haswell, "avx512bw": True}
    wanted = {"neon": arm, "portable": old, "avx2": haswell, "avx512": server,
              "avx512-vnni": {**server, "avx512vnni": True}}  # fmt: skip
    assert {name: choose(features).name for name, features in wanted.items()} == {
        name: name for name in wanted
    }


@pytest.mark.parametrize(("said", "expected"), [(True, "neon"), (False, "portable")])
def test_what_llvm_does_not_find_on_arm_the_kernel_says(
    said: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llvmlite import binding

    monkeypatch.setattr(binding, "get_host_cpu_features", dict)  # as on macOS
    monkeypatch.setattr(compilation, "arm_features", lambda: {"neon": True, "dotprod": said})
    _, features = compilation.host.__wrapped__()
    assert choose(features).name == expected
