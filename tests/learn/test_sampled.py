from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_generation

from liveweights.learn.sampled import (
    find_behaviour,
    find_temperature,
    is_narrowed,
    is_sampled,
)
from liveweights.record.generation import Generation


def draw(logits_TV: np.ndarray, heat: float, allowed_TV: np.ndarray | None = None) -> Generation:
    """An answer of the tokens 0 ... , drawn at that temperature of what is allowed."""

    def softmax(values_TV: np.ndarray) -> np.ndarray:
        values_TV = values_TV - values_TV.max(axis=-1, keepdims=True)
        return values_TV - np.log(np.exp(values_TV).sum(axis=-1, keepdims=True))

    raw_TV = softmax(logits_TV)
    kept_TV = logits_TV if allowed_TV is None else np.where(allowed_TV, logits_TV, -np.inf)
    drawn_TV = softmax(kept_TV / heat)
    return make_generation(
        "g",
        output_ids=[0] * len(logits_TV),
        logprobs=drawn_TV[:, 0].tolist(),
        raw_logprobs=raw_TV[:, 0].tolist(),
        temperature=heat,
    )


@given(st.integers(0, 10_000), st.floats(0.3, 2.0))
def test_what_a_model_draws_by_itself_is_its_own(seed: int, heat: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (8, 50))
    assert not is_narrowed(draw(logits, heat))


@pytest.mark.parametrize("heat", [0.4, 1.0, 1.5])
def test_what_a_constraint_leaves_is_not(heat: float) -> None:
    logits = np.zeros((4, 50))
    forced = np.zeros((4, 50), bool)
    forced[:, 0] = True
    assert is_narrowed(draw(logits, heat, forced))


def test_what_top_p_cuts_off_is_little() -> None:
    likely = make_generation(
        "g", logprobs=[0.0], raw_logprobs=[-0.4], output_ids=[1], temperature=0.4, top_p=0.95
    )
    assert not is_narrowed(likely)
    assert is_narrowed(replace(likely, top_p=1.0))
    assert is_narrowed(replace(likely, raw_logprobs=[-5.0]))


@pytest.mark.parametrize("heat", [0.0, 1e-6, 2e-38, -1.0, float("nan"), float("inf")])
def test_what_is_as_good_as_greedy_is_scored_at_one(heat: float) -> None:
    cold = make_generation("g", temperature=heat)
    assert not is_sampled(cold)
    assert find_temperature(cold) == 1.0
    assert find_behaviour(cold) == cold.raw_logprobs
    assert not is_narrowed(cold)
