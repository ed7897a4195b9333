"""The kernel of adapters against plain arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from liveweights.ternary import threads
from liveweights.ternary.low_rank import MANY, add_low_rank, halve

llvmlite = pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")

from liveweights.ternary.compilation import reads_halves  # noqa: E402

LANES = [4, 8, 16]
DTYPES = [torch.float32, torch.float16] if reads_halves() else [torch.float32]


class Case(NamedTuple):
    out_TN: torch.Tensor
    x_TK: torch.Tensor
    down_RK: torch.Tensor
    up_RN: torch.Tensor


def draw(
    seed: int, tokens: int, inputs: int, rank: int, outputs: int, dtype: torch.dtype = DTYPES[-1]
) -> Case:
    random = torch.Generator().manual_seed(seed)
    out_TN = torch.randn(tokens, outputs, generator=random)
    x_TK = torch.randn(tokens, inputs, generator=random)
    down_RK = torch.randn(rank, inputs, generator=random).to(dtype)
    return Case(out_TN, x_TK, down_RK, torch.randn(rank, outputs, generator=random).to(dtype))


def compute(case: Case, scale: float, lanes: int | None = None) -> NDArray[np.float32]:
    out_TN = case.out_TN.clone()
    add_low_rank(out_TN, *case[1:], scale=scale, lanes=lanes)
    return out_TN.numpy()


def add_exactly(case: Case, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is computed, by plain arithmetic, and the magnitudes that were added up [T, N]."""
    out_TN, x_TK, down_RK, up_RN = (one.double().numpy() for one in case)
    sums = out_TN + scale * (x_TK @ down_RK.T) @ up_RN
    magnitudes = np.abs(out_TN) + abs(scale) * (np.abs(x_TK) @ np.abs(down_RK).T) @ np.abs(up_RN)
    return sums, magnitudes


@settings(max_examples=60)
@given(
    st.sampled_from(LANES),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 64), st.integers(1, 700)),
    st.floats(-4, 4, width=32),
)
def test_it_adds_what_plain_arithmetic_does(
    lanes: int, dtype: torch.dtype, seed: int, shape: tuple[int, ...], scale: float
) -> None:
    tokens, steps, rank, outputs = shape
    case = draw(seed, tokens, 64 * steps, rank, outputs, dtype)
    expected, magnitudes = add_exactly(case, scale)
    difference = np.abs(compute(case, scale, lanes) - expected)
    assert (difference <= magnitudes * 2e-6).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_so_it_does_for_many_tokens(dtype: torch.dtype) -> None:
    case = draw(3, MANY + 1, 128, 5, 77, dtype)
    expected, magnitudes = add_exactly(case, 0.5)
    assert (np.abs(compute(case, 0.5) - expected) <= magnitudes * 2e-6).all()


@pytest.mark.parametrize("lanes", LANES)
def test_a_token_gives_the_same_alone_and_among_others(lanes: int) -> None:
    case = draw(4, 5, 192, 7, 131)
    together = compute(case, 2.0, lanes)
    for token in range(5):
        one = slice(token, token + 1)
        alone = compute(Case(case.out_TN[one], case.x_TK[one], *case[2:]), 2.0, lanes)
        assert np.array_equal(alone[0], together[token])


@pytest.mark.parametrize("own", [False, True], ids=["openmp", "own"])
def test_several_threads_give_what_one_does(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if own:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    threads.runner.cache_clear()
    case = draw(5, 3, 256, 19, 2001)
    before = torch.get_num_threads()
    try:
        results: list[NDArray[np.float32]] = []
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(compute(case, 2.0))
    finally:
        torch.set_num_threads(before)
        threads.runner.cache_clear()
    assert np.array_equal(*results)


def test_what_16_bits_would_lose_stays_in_32() -> None:
    exact = torch.tensor([[0.5, -3.0, 2.0**-14]])
    for lost in (torch.tensor([[0.1]]), torch.tensor([[1e6]])):
        assert halve(exact, lost)[0] is exact
    kept = halve(exact, exact)
    assert all(one.dtype == DTYPES[-1] for one in kept)
    assert torch.equal(kept[0].float(), exact)
