"""The behaviour policy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.distribution import (
    draw,
    make_generator,
    sampling_logprob,
    sampling_logprobs,
)

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


@given(raw=RAW, temperature=TEMPERATURES, min_p=st.floats(0, 1))
def test_min_p_keeps_what_is_likely_enough(raw: Any, temperature: float, min_p: float) -> None:
    whole = np.exp(sampling_logprobs(raw, temperature=temperature))
    kept = ~np.isneginf(sampling_logprobs(raw, temperature=temperature, min_p=min_p))
    least = min_p * whole.max()
    assert (whole[kept] >= least * (1 - 1e-9)).all()
    assert (whole[~kept] <= least * (1 + 1e-9)).all()


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


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 2000),
    temperature=TEMPERATURES,
    top_p=TOP_PS | st.just(1.0),
    top_k=st.integers(0, 50),
    min_p=st.just(0.0) | st.floats(0, 1),
    uniform=st.floats(0, 1, exclude_max=True),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_a_draw_is_of_the_distribution(
    seed: int,
    count: int,
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    uniform: float,
    kind: Any,
) -> None:
    generator = np.random.default_rng(seed)
    raw = (4 * generator.standard_normal(count)).astype(kind)
    raw[generator.random(count) < 0.1] = -np.inf  # not allowed
    if np.isneginf(raw).all():
        raw[0] = 0.0
    how = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
    expected = sampling_logprobs(raw, **how)
    token, logprob = draw(raw, uniform, **how)
    # Where a candidate is at the edge of the nucleus, rounding decides.
    edge = np.isneginf(expected[token])
    assert not edge or kind is np.float32
    if not edge:
        assert logprob == pytest.approx(expected[token], abs=1e-4 if kind is np.float32 else 1e-9)
    assert np.isfinite(raw[token])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 0), (0.8, 0), (1.0, 300), (0.9, 300)])
def test_each_candidate_is_drawn_as_often_as_it_is_likely(
    kind: Any, top_p: float, top_k: int
) -> None:
    raw = np.random.default_rng(0).standard_normal(700).astype(kind)
    how = {"temperature": 0.7, "top_p": top_p, "top_k": top_k}
    places = (np.arange(20_000) + 0.5) / 20_000  # evenly, instead of at random
    counts = np.bincount([draw(raw, place, **how)[0] for place in places], minlength=len(raw))
    assert counts / 20_000 == pytest.approx(np.exp(sampling_logprobs(raw, **how)), abs=1.1e-4)


@given(raw=RAW, uniform=st.floats(0, 1, exclude_max=True))
def test_a_draw_at_temperature_0_is_greedy(raw: Any, uniform: float) -> None:
    assert draw(raw, uniform, temperature=0.0) == (raw.argmax(), 0.0)


@given(st.integers(-(2**63), 2**63 - 1))
def test_each_seed_draws_the_same_again(seed: int) -> None:
    one, other = make_generator(seed), make_generator(seed)
    assert one.random() == other.random() != make_generator(seed + 1).random()
    assert make_generator(None).random() != make_generator(None).random()
