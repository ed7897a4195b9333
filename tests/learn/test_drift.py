from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.drift import measure_drift

logprobs = st.floats(-100, 0)


@given(st.lists(st.lists(st.tuples(logprobs, logprobs), min_size=1), min_size=1, max_size=10))
def test_drift_is_finite_and_never_negative(answers: list[list[tuple[float, float]]]) -> None:
    ours = [[a for a, _ in answer] for answer in answers]
    drift = measure_drift(ours, [[b for _, b in answer] for answer in answers])
    assert 0 <= drift.divergence <= drift.worst * (1 + 1e-12) < np.inf
    assert measure_drift(ours, ours).divergence == 0


def test_the_estimator_is_the_divergence_of_two_known_policies() -> None:
    rng = np.random.default_rng(0)
    incumbent, candidate = np.array([0.6, 0.3, 0.1]), np.array([0.4, 0.4, 0.2])
    tokens = rng.choice(3, size=200_000, p=incumbent)
    truth = float(incumbent @ np.log(incumbent / candidate))
    drift = measure_drift([np.log(candidate)[tokens]], [np.log(incumbent)[tokens]])
    assert drift.divergence == pytest.approx(truth, rel=0.02)


def test_sizes_are_reported_and_silent_answers_skipped() -> None:
    drift = measure_drift([[-1.0, -2.0], [], [-1.0]], [[-1.0, -2.0], [], [-2.0]])
    assert (drift.tokens, drift.answers) == (3, 2)
    assert drift.worst == pytest.approx(np.exp(1) - 2)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="same tokens"):
        measure_drift([[-1.0]], [[-1.0, -2.0]])
    with pytest.raises(ValueError, match="no answers"):
        measure_drift([[]], [[]])


def test_one_token_cannot_decide_and_a_collapse_is_seen() -> None:
    usual = [-0.5] * 999
    assert measure_drift([[*usual, -0.1]], [[*usual, -30.0]]).divergence < 0.2
    assert measure_drift([[-60.0] * 10], [[-0.5] * 10]).divergence > 3
