from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from tests.weights.ternary.drawing import draw_matrix, draw_trits, matrices, same

from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix, find_trits


@given(matrices())
def test_what_was_packed_is_unpacked(matrix: TernaryMatrix) -> None:
    trits = matrix.trits()
    assert set(np.unique(trits)) <= {-1, 0, 1}
    assert same(TernaryMatrix.pack(trits, matrix.scales), matrix)
    assert same(find_trits(matrix.dequantise(), matrix.group), matrix)


def test_smaller_groups_are_the_same_weights() -> None:
    matrix = draw_matrix(2, 3, 512, 256)
    smaller = matrix.with_group(64)
    assert smaller.scales.shape == (3, 8)
    assert np.array_equal(smaller.dequantise(), matrix.dequantise())
    with pytest.raises(NotTernary, match="do not divide"):
        smaller.with_group(128)


def test_where_each_trit_is() -> None:
    trits = np.zeros((1, 64), dtype=np.int8)
    trits[0, 16 * 3 + 5] = 1
    codes = TernaryMatrix.pack(trits, np.ones((1, 1), np.float16)).codes
    assert codes[0, 5] == 0b10_01_01_01
    assert (np.delete(codes[0], 5) == 0b01_01_01_01).all()


def test_what_is_not_ternary_says_why() -> None:
    ones = np.ones((2, 1), np.float16)
    with pytest.raises(NotTernary, match="multiple of 64"):
        TernaryMatrix.pack(draw_trits(0, 2, 96), ones)
    with pytest.raises(NotTernary, match="64, 128 or 256"):
        TernaryMatrix.pack(draw_trits(0, 2, 192), ones)
    with pytest.raises(NotTernary, match="none of -1, 0 and 1"):
        TernaryMatrix.pack(np.full((2, 64), 2, np.int8), ones)
    with pytest.raises(NotTernary, match="3, which"):
        TernaryMatrix(np.full((2, 16), 255, np.uint8), ones).trits()
    with pytest.raises(NotTernary, match="one magnitude"):
        find_trits(np.array([[1.0, 2.0] * 32], np.float32), 64)
    with pytest.raises(NotTernary, match="one magnitude"):
        find_trits(np.array([[0.1, 0.0] * 32], np.float32), 64)  # no 16-bit float
