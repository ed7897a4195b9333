from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.weights.ternary.drawing import draw_matrix, draw_trits, same

from liveweights.weights.ternary.blocks import SIZES, BlockType, decode, encode
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix

KINDS = list(SIZES)


@given(st.sampled_from(KINDS), st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4))
def test_what_was_encoded_is_decoded(kind: BlockType, seed: int, rows: int, blocks: int) -> None:
    weights, size = SIZES[kind]
    trits = draw_trits(seed, rows, blocks * weights)
    trits[0, :weights] = 0  # a group of zeros keeps its scale, too
    scales = np.random.default_rng(seed).uniform(-4, 4, (rows, blocks)).astype(np.float16)
    matrix = TernaryMatrix.pack(trits, scales)
    data = encode(matrix, kind)
    assert data.shape == (rows, blocks * size)
    assert same(decode(data, kind), matrix)


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_values_are_those_that_gguf_reads(kind: BlockType) -> None:
    matrix = draw_matrix(1, 3, 512, 256)
    known = gguf.GGMLQuantizationType[kind]
    assert np.array_equal(gguf.dequantize(encode(matrix, kind), known), matrix.dequantise())
    assert np.array_equal(gguf.quantize(matrix.dequantise(), known), encode(matrix, kind))


def test_a_block_of_q2_0_is_a_scale_and_codes_in_order() -> None:
    trits = np.full((1, 64), -1, np.int8)
    trits[0, 5] = 1
    [block] = encode(TernaryMatrix.pack(trits, np.array([[1.5]], np.float16)), "Q2_0")
    assert block[:2].tobytes() == np.float16(1.5).tobytes()
    assert block[2:].tolist() == [0, 2 << 2, *[0] * 14]


def test_ptq1_0_is_tq1_0_of_half_the_length() -> None:
    """The fork's packing is llama.cpp's with other counts: a fraction of 256, rounded up."""
    trits = np.full((1, 128), -1, np.int8)
    trits[0, 0] = 1  # the most significant of the first byte
    trits[0, 120] = 1
    [block] = encode(TernaryMatrix.pack(trits, np.ones((1, 1), np.float16)), "PTQ1_0")
    assert block[0] == block[24] == (2 * 81 * 256 + 242) // 243
    assert (np.delete(block[:26], [0, 24]) == 0).all()


def test_what_would_be_lost_is_refused() -> None:
    with pytest.raises(NotTernary, match="one per 64"):
        encode(draw_matrix(0, 1, 256, 64), "TQ2_0")
    with pytest.raises(NotTernary, match="no blocks of 256"):
        encode(draw_matrix(0, 1, 576, 64), "TQ2_0")
    with pytest.raises(NotTernary, match="twice its scale"):
        decode(np.full((1, 18), 255, np.uint8), "Q2_0")
    with pytest.raises(NotTernary, match="twice its scale"):
        decode(np.full((1, 66), 255, np.uint8), "TQ2_0")
    with pytest.raises(NotTernary, match="no PQ2_0 blocks"):
        decode(np.zeros((1, 35), np.uint8), "PQ2_0")
