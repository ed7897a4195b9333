from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.losses.silence import decision_loss, given_speech, log_speech

probability = st.floats(0.01, 0.99)


def descend(p: float, gains: list[float]) -> float:
    """The gradient of the mean loss with respect to the logit of silence."""
    logit = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64, requires_grad=True)
    silence = torch.nn.functional.logsigmoid(logit).expand(len(gains))
    decision_loss(silence, torch.tensor(gains, dtype=torch.float64)).mean().backward()
    assert logit.grad is not None
    return float(logit.grad)


@given(probability)
def test_no_gain_no_gradient(p: float) -> None:
    assert descend(p, [0.0]) == 0.0


@given(st.integers(0, 20))
def test_its_minimum_is_silence_exactly_where_that_is_worth_more(accepted: int) -> None:
    """Of 20 suggestions some are accepted (0.75), the others rejected (-0.25)."""
    gains = [-0.75] * accepted + [0.25] * (20 - accepted)
    pull = descend(0.5, gains)
    assert math.isclose(pull, -sum(gains) / 20 / 2, abs_tol=1e-9)
    optimum = 0.25 * (20 - accepted) / (0.25 * (20 - accepted) + 0.75 * accepted)
    if 0 < optimum < 1:
        assert abs(descend(optimum, gains)) < 1e-9


def test_it_moves_a_policy_that_is_never_silent() -> None:
    assert descend(1e-6, [0.25]) < -0.2


@given(probability)
def test_speech_is_what_is_not_silence(p: float) -> None:
    found = log_speech(torch.tensor([math.log(p)], dtype=torch.float64))
    assert math.isclose(float(found.exp()), 1 - p, rel_tol=1e-6)


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_text_given_speech_says_nothing_about_silence(theta: list[float]) -> None:
    logits = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    logprobs = torch.log_softmax(logits, 0)  # token 0 is silence
    given_speech(logprobs[1:2], logprobs[0:1]).sum().backward()
    assert logits.grad is not None
    assert abs(float(logits.grad[0])) < 1e-9
    assert torch.allclose(
        given_speech(logprobs[1:], logprobs[0].expand(3)).exp().sum(),
        torch.ones((), dtype=torch.float64),
    )


def test_certain_silence_is_finite() -> None:
    assert torch.isfinite(log_speech(torch.zeros(1))).all()
