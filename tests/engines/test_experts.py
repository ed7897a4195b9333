from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from liveweights.engines.experts import Experts

SHAPES = st.tuples(*(st.integers(1, 6) for _ in range(3)))
CHOSEN = st.sampled_from([255, 256, 2**15 - 1]).flatmap(
    lambda most: arrays(np.int16, SHAPES, elements=st.integers(0, most))
)


@given(st.integers(0, 2**32 - 1), CHOSEN)
def test_bytes_hold_what_was_recorded(first: int, chosen: np.ndarray) -> None:
    experts = Experts(first, chosen)
    data = experts.to_bytes()
    again = Experts.from_bytes(data)
    assert again.first == first
    assert again.chosen.dtype == np.int16
    assert np.array_equal(again.chosen, chosen)
    assert len(data) == 9 + chosen.size * (1 if chosen.max() < 256 else 2)


@given(st.binary(max_size=40))
def test_other_bytes_are_refused_or_are_experts(data: bytes) -> None:
    try:
        experts = Experts.from_bytes(data)
    except ValueError:
        return
    assert experts.chosen.ndim == 3


@pytest.mark.parametrize(
    "chosen",
    [np.zeros((0, 2, 2)), np.zeros((2, 2)), np.full((1, 1, 1), -1)],
)
def test_what_are_no_experts_is_not_kept(chosen: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        Experts(3, chosen.astype(np.int16)).to_bytes()


def test_what_an_answer_needs() -> None:
    experts = Experts(4, np.zeros((3, 2, 2), np.int16))
    assert experts.serves(prompt=5, answer=3)
    assert not experts.serves(prompt=4, answer=3)
    assert not experts.serves(prompt=5, answer=4)
