from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.weights.ternary.drawing import draw_trits

from liveweights.weights.ternary.base3 import pack_base3, unpack_base3
from liveweights.weights.ternary.matrix import NotTernary


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 200))
def test_what_was_packed_is_unpacked(seed: int, rows: int, columns: int) -> None:
    trits = draw_trits(seed, rows, columns)
    packed = pack_base3(trits)
    assert packed.shape == (rows, -(-columns // 5))
    assert np.array_equal(unpack_base3(packed, columns), trits)


def test_a_byte_is_five_trits_the_first_least() -> None:
    assert pack_base3(np.array([[1, 0, -1, -1, -1]], np.int8)).tolist() == [[2 + 3]]


def test_what_holds_no_trits_says_why() -> None:
    with pytest.raises(NotTernary, match="above 242"):
        unpack_base3(np.array([[243]], np.uint8), 5)
    with pytest.raises(NotTernary, match="no row of 6"):
        unpack_base3(np.array([[1]], np.uint8), 6)
    with pytest.raises(NotTernary, match="none of"):
        pack_base3(np.array([[2]], np.int8))
