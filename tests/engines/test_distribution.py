"""The behaviour policy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.distribution import sampling_logprob, sampling_logprobs

RAW = st.lists(st.floats(-20, 0), min_size=1, max_size=30).map(np.array)
TEMPERATURES = st.floats(0.05, 5)
TOP_PS = st.floats(0.01, 1)


@given(raw=RAW, temperature=TEMPERATURES, top_p=TOP_PS, top_k=st.integers(0, 40))
def test_it_is_a_distribution_over_the_most_likely(
    raw: Any, temperature: float, top_p: float, top_k: int
) -> None:
    logprobs = sampling_logprobs(raw, temperature=temperature, top_p=top_p, top_k=top_k)
    assert np.exp(logprobs).sum() == pytest.approx(1)
    kept = ~np.isneginf(logprobs)
    assert 1 <= kept.sum() <= (top_k or len(raw))
    if not kept.all():
        assert raw[kept].min() >= raw[~kept].max() - 1e-9  # equal but for rounding


@given(raw=RAW, temperature=TEMPERATURES)
def test_without_limits_it_is_softmax_at_temperature(raw: Any, temperature: float) -> None:
    expected = np.exp(raw / temperature) / np.exp(raw / temperature).sum()
    assert np.exp(sampling_logprobs(raw, temperature=temperature)) == pytest.approx(expected)


@given(raw=RAW, temperature=TEMPERATURES, top_p=TOP_PS)
def test_the_nucleus_is_the_smallest_that_reaches_top_p(
    raw: Any, temperature: float, top_p: float
) -> None:
    whole = np.exp(sampling_logprobs(raw, temperature=temperature))
    kept = ~np.isneginf(sampling_logprobs(raw, temperature=temperature, top_p=top_p))
    assert whole[kept].sum() >= top_p - 1e-9
    assert whole[kept].sum() - whole[kept].min() < top_p + 1e-9


@given(raw=RAW)
def test_temperature_0_is_greedy(raw: Any) -> None:
    logprobs = sampling_logprobs(raw, temperature=0.0)
    assert logprobs[raw.argmax()] == 0.0
    assert np.isneginf(np.delete(logprobs, raw.argmax())).all()


@given(raw=RAW, shift=st.floats(-50, 50), temperature=TEMPERATURES)
def test_logits_do_as_well_as_logprobs(raw: Any, shift: float, temperature: float) -> None:
    assert sampling_logprobs(raw + shift, temperature=temperature) == pytest.approx(
        sampling_logprobs(raw, temperature=temperature), abs=1e-9
    )


@given(raw=RAW, temperature=TEMPERATURES, top_p=TOP_PS, at=st.integers(0, 29))
def test_what_was_drawn_has_a_probability(
    raw: Any, temperature: float, top_p: float, at: int
) -> None:
    candidates = list(enumerate(raw.tolist()))
    token = at % len(raw)
    logprob = sampling_logprob(candidates, token, temperature=temperature, top_p=top_p)
    assert -math.inf < logprob <= 1e-12
    expected = sampling_logprobs(raw, temperature=temperature, top_p=top_p)[token]
    if not np.isneginf(expected):
        assert logprob == expected
