from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.offpolicy import (
    Predicted,
    doubly_robust_difference,
    effective_size,
    ips_difference,
    snips_difference,
)
from liveweights.gate.predictions import predict
from liveweights.gate.statistics import clustered_error

weights = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50)


@given(weights)
def test_effective_size_is_between_one_and_all(weights_B: list[float]) -> None:
    size = effective_size(np.array(weights_B))
    assert 1 - 1e-9 <= size <= len(weights_B) + 1e-9


def test_equal_weights_count_fully_and_no_weights_not() -> None:
    assert effective_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_size(np.zeros(3)) == 0


@given(st.lists(st.floats(-1, 1), min_size=31, max_size=60), st.floats(-3, 2))
def test_the_same_policy_has_the_logged_mean(rewards: list[float], shift: float) -> None:
    # A constant factor on all weights, such as rounding of the engine, cancels.
    estimate = snips_difference(rewards, [shift] * len(rewards), np.zeros(len(rewards)))
    assert estimate.value == pytest.approx(0.0, abs=1e-9)
    assert estimate.effective == pytest.approx(len(rewards))


def test_estimate_covers_the_true_value_of_another_policy() -> None:
    rng = np.random.default_rng(0)
    mu, pi, value_of = (
        np.array([0.5, 0.3, 0.2]),
        np.array([0.2, 0.3, 0.5]),
        np.array([-0.25, 0, 0.75]),
    )
    truth, covered, runs = float((pi - mu) @ value_of), 0, 1000
    for _ in range(runs):
        actions = rng.choice(3, size=300, p=mu)
        estimate = snips_difference(value_of[actions], np.log(pi / mu)[actions], np.zeros(300))
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= truth <= estimate.high
    assert 0.93 <= covered / runs <= 0.975


def test_pairing_sees_a_small_improvement_that_two_estimates_do_not() -> None:
    rng = np.random.default_rng(1)
    mu, pi, value_of = np.array([0.5, 0.5]), np.array([0.49, 0.51]), np.array([-0.25, 0.75])
    actions = rng.choice(2, size=2000, p=mu)
    rewards, ours = value_of[actions], np.log(pi / mu)[actions]
    paired = snips_difference(rewards, ours, np.zeros(2000))
    assert paired.low is not None
    assert paired.low > 0
    assert paired.value == pytest.approx(0.01, abs=0.002)
    alone = clustered_error(rewards, np.arange(2000))
    assert alone is not None
    assert paired.value < 1.96 * alone


def test_too_few_effective_samples_are_refused_with_the_reason() -> None:
    logratios = [-20.0] * 99 + [0.0]
    estimate = snips_difference([1.0] * 100, logratios, np.zeros(100), floor=30)
    assert estimate.value is None
    assert estimate.low is None
    assert estimate.refused == "1.0 effective samples of 100; at least 30 are needed"
    assert snips_difference([1.0] * 100, np.zeros(100), logratios).refused == estimate.refused


def test_one_session_is_refused() -> None:
    none = np.zeros(100)
    estimate = snips_difference([0.0, 1.0] * 50, none, none, sessions_B=["a"] * 100)
    assert estimate.value is None
    assert "one session" in (estimate.refused or "")


def test_the_clip_bounds_one_answers_weight() -> None:
    logratios = [50.0] + [0.0] * 99
    estimate = snips_difference([1.0] + [0.0] * 99, logratios, np.zeros(100), clip=2.0)
    assert estimate.value == pytest.approx(2 / 101 - 1 / 100)
    assert estimate.clipped == 1


@pytest.mark.parametrize(
    ("rewards", "logratios"),
    [([1.0, 2.0], [0.0]), ([float("inf")], [0.0]), ([1.0], [float("nan")])],
)
def test_bad_input_is_refused(rewards: list[float], logratios: list[float]) -> None:
    with pytest.raises(ValueError, match="log-ratios"):
        snips_difference(rewards, logratios, logratios)


def test_an_impossible_answer_weighs_nothing() -> None:
    logratios = [-np.inf] * 50 + [0.0] * 50
    estimate = snips_difference([1.0] * 50 + [0.0] * 50, logratios, np.zeros(100))
    assert estimate.value == -0.5


MU, PI, VALUE_OF = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]), np.array([-0.25, 0, 0.75])
TRUTH = float((PI - MU) @ VALUE_OF)


def sampled(
    rng: np.random.Generator, cases: int, model: np.ndarray, ratios: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Predicted]:
    """Rewards with noise, log-ratios of candidate and incumbent, and what ``model`` predicts."""
    logged, ours, theirs = (rng.choice(3, size=cases, p=p) for p in (MU, PI, MU))
    rewards = VALUE_OF[logged] + rng.normal(scale=0.1, size=cases)
    predicted = Predicted(model[logged], model[ours], model[theirs])
    return rewards, ratios[logged], np.zeros(cases), predicted


@pytest.mark.parametrize(
    ("model", "ratios"),
    [
        (VALUE_OF, np.log(PI / MU)),
        (np.array([0.3, 0.3, -0.1]), np.log(PI / MU)),  # wrong model, right weights
        (VALUE_OF, np.log(np.array([1.5, 1.0, 0.6]))),  # right model, wrong weights
    ],
)
def test_doubly_robust_covers_the_truth_if_either_part_is_right(
    model: np.ndarray, ratios: np.ndarray
) -> None:
    rng = np.random.default_rng(5)
    runs, covered, values = 500, 0, []
    for _ in range(runs):
        found = doubly_robust_difference(*sampled(rng, 400, model, ratios))
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        covered += found.low <= TRUTH <= found.high
        values.append(found.value)
    assert covered / runs >= 0.93
    assert np.mean(values) == pytest.approx(TRUTH, abs=0.01)


def test_a_model_of_the_prompts_narrows_the_interval_and_no_model_is_plain_ips() -> None:
    rng = np.random.default_rng(6)
    rewards, ours, theirs, predicted = sampled(rng, 2000, VALUE_OF, np.log(PI / MU))
    ease = rng.normal(size=2000)  # what a prompt is worth, whoever answers it
    told = Predicted(
        predicted.logged_B + ease, predicted.candidate_B + ease, predicted.incumbent_B + ease
    )
    robust = doubly_robust_difference(rewards + ease, ours, theirs, told)
    plain = ips_difference(rewards + ease, ours, theirs)
    assert plain.value == pytest.approx(np.mean((np.exp(ours) - 1) * (rewards + ease)))
    assert robust.standard_error < plain.standard_error / 1.5  # type: ignore[operator]


def test_every_estimate_is_refused_below_the_floor() -> None:
    ours = np.concatenate([[5.0], np.full(99, -5.0)])
    rewards, theirs, none = np.zeros(100), np.zeros(100), np.zeros(100)
    for found in (
        snips_difference(rewards, ours, theirs, 1e3),
        ips_difference(rewards, ours, theirs, 1e3),
        doubly_robust_difference(rewards, ours, theirs, Predicted(none, none, none), clip=1e3),
    ):
        assert found.value is None
        assert found.refused is not None
        assert "effective samples of 100" in found.refused


def test_predictions_come_from_other_sessions() -> None:
    rng = np.random.default_rng(7)
    texts = ["", "short", "a much longer answer\nof two lines"]
    kinds = rng.integers(0, 3, size=300)
    logged = [texts[kind] for kind in kinds]
    rewards = np.array([0.0, 0.75, -0.25])[kinds]
    sessions = [f"s{i // 3}" for i in range(300)]
    found = predict(rewards, logged, ["short"] * 300, [""] * 300, sessions_B=sessions)
    assert np.abs(found.logged_B - rewards).max() < 0.15
    assert found.candidate_B.mean() == pytest.approx(0.75, abs=0.15)
    assert found.incumbent_B.mean() == pytest.approx(0.0, abs=0.15)
    # One session's rewards do not move that session's own predictions.
    changed = rewards.copy()
    changed[:3] = 9.0
    again = predict(changed, logged, ["short"] * 300, [""] * 300, sessions_B=sessions)
    assert again.logged_B[:3] == pytest.approx(found.logged_B[:3])
    assert again.logged_B[3:6] != pytest.approx(found.logged_B[3:6])
