"""Ternary matrices for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from liveweights.weights.ternary.matrix import TernaryMatrix


def draw_trits(seed: int, rows: int, columns: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-1, 2, (rows, columns), dtype=np.int8)


def draw_matrix(seed: int, rows: int, columns: int, group: int) -> TernaryMatrix:
    """With a scale in every group, and a weight that is not 0."""
    trits = draw_trits(seed, rows, columns)
    trits[:, ::group] = 1
    scales = np.random.default_rng(seed + 1).uniform(1e-4, 4, (rows, columns // group))
    return TernaryMatrix.pack(trits, scales.astype(np.float16))


@st.composite
def matrices(draw: st.DrawFn, groups: tuple[int, ...] = (64, 128, 256)) -> TernaryMatrix:
    group = draw(st.sampled_from(groups))
    rows, count = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return draw_matrix(draw(st.integers(0, 2**32)), rows, count * group, group)


def same(one: TernaryMatrix, other: TernaryMatrix) -> bool:
    """Bit for bit."""
    return (
        np.array_equal(one.codes, other.codes)
        and one.scales.tobytes() == other.scales.tobytes()
        and one.shape == other.shape
    )
