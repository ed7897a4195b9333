"""What adapters add, by the kernel and by torch, against plain arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.weights.ternary.drawing import draw_matrix

from liveweights.ternary import threads
from liveweights.ternary.instructions import KNOWN, Instructions
from liveweights.ternary.low_rank import MANY, LowRank
from liveweights.ternary.product import multiply, multiply_exactly
from liveweights.weights.ternary.matrix import TernaryMatrix

llvmlite = pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")

from liveweights.ternary.compilation import host, reads_halves  # noqa: E402

HERE = [one for one in KNOWN if all(host()[1].get(name, False) for name in one.needs)]
DTYPES = [torch.float32, torch.float16] if reads_halves() else [torch.float32]


class Case(NamedTuple):
    x_TK: torch.Tensor
    matrix: TernaryMatrix
    adapter: LowRank


def draw(
    seed: int,
    shape: tuple[int, int, int, int],
    *,
    scale: float = 2.0,
    dtype: torch.dtype = DTYPES[-1],
) -> Case:
    """Of T tokens, K / 64, R and N."""
    tokens, steps, rank, rows = shape
    random = torch.Generator().manual_seed(seed)
    x_TK = torch.randn(tokens, 64 * steps, generator=random)
    down_RK = torch.randn(rank, 64 * steps, generator=random).to(dtype)
    up_RN = torch.randn(rank, rows, generator=random).to(dtype)
    return Case(x_TK, draw_matrix(seed, rows, 64 * steps, 64), LowRank(down_RK, up_RN, scale))


def compute(case: Case, instructions: Instructions = HERE[0]) -> NDArray[np.float32]:
    codes, scales = torch.from_numpy(case.matrix.codes), torch.from_numpy(case.matrix.scales)
    return multiply(case.x_TK, codes, scales, case.adapter, instructions=instructions).numpy()


def add_exactly(case: Case) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is computed, by plain arithmetic, and how far it may be off: the magnitudes that were
    added up [T, N] times what float32 loses of each."""
    x_TK = case.x_TK.numpy()
    down_RK, up_RN = (one.double().numpy() for one in (case.adapter.down_RK, case.adapter.up_RN))
    scale = case.adapter.scale
    sums = multiply_exactly(x_TK, case.matrix) + scale * (x_TK @ down_RK.T) @ up_RN
    given = np.abs(x_TK).astype(np.float64)
    magnitudes = given @ np.abs(case.matrix.dequantise()).T
    magnitudes += abs(scale) * (given @ np.abs(down_RK).T) @ np.abs(up_RN)
    return sums, (magnitudes + 1e-6) * 2e-6


@settings(max_examples=60)
@given(
    st.sampled_from(HERE),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 64), st.integers(1, 700)),
    st.floats(-4, 4, width=32),
)
def test_it_adds_what_plain_arithmetic_does(
    instructions: Instructions,
    dtype: torch.dtype,
    seed: int,
    shape: tuple[int, int, int, int],
    scale: float,
) -> None:
    case = draw(seed, shape, scale=scale, dtype=dtype)
    expected, bound = add_exactly(case)
    assert (np.abs(compute(case, instructions) - expected) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tokens", [MANY, MANY + 1])
def test_so_it_does_for_many_tokens(dtype: torch.dtype, tokens: int) -> None:
    case = draw(3, (tokens, 2, 5, 77), scale=0.5, dtype=dtype)
    expected, bound = add_exactly(case)
    assert (np.abs(compute(case) - expected) <= bound).all()


def test_so_it_does_where_activations_fill_several_panels() -> None:
    case = draw(6, (MANY, 300, 3, 9))
    expected, bound = add_exactly(case)
    assert (np.abs(compute(case) - expected) <= bound).all()


@pytest.mark.parametrize("instructions", HERE, ids=lambda one: one.name)
def test_a_token_gives_the_same_alone_and_among_others(instructions: Instructions) -> None:
    case = draw(4, (5, 3, 7, 131))
    together = compute(case, instructions)
    for token in range(5):
        alone = compute(case._replace(x_TK=case.x_TK[token : token + 1]), instructions)
        assert np.array_equal(alone[0], together[token])


@pytest.mark.parametrize("own", [False, True], ids=["openmp", "own"])
def test_several_threads_give_what_one_does(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if own:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    threads.runner.cache_clear()
    case = draw(5, (3, 4, 19, 2001))
    before = torch.get_num_threads()
    try:
        results: list[NDArray[np.float32]] = []
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(compute(case))
    finally:
        torch.set_num_threads(before)
        threads.runner.cache_clear()
    assert np.array_equal(*results)


def test_what_16_bits_would_lose_stays_in_32() -> None:
    exact = torch.tensor([[0.5, -3.0, 2.0**-14]])
    for lost in (torch.tensor([[0.1]]), torch.tensor([[1e6]])):
        assert LowRank.halved(exact, lost, 1.0).down_RK is exact
    kept = LowRank.halved(exact, exact, 1.0)
    assert kept.down_RK.dtype == kept.up_RN.dtype == DTYPES[-1]
    assert torch.equal(kept.down_RK.float(), exact)
