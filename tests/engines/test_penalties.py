"""What was there before becomes less likely, by as much as was asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.penalties import make_penalties
from liveweights.engines.protocol import Sampling

IDS = st.lists(st.integers(0, 12), max_size=12)


@given(
    prompt=IDS,
    output=IDS,
    frequency=st.floats(-2, 2),
    presence=st.floats(-2, 2),
    repetition=st.floats(0.1, 3),
    seed=st.integers(0, 99),
)
def test_it_is_what_the_formulas_say(
    prompt: list[int],
    output: list[int],
    frequency: float,
    presence: float,
    repetition: float,
    seed: int,
) -> None:
    how = Sampling(
        frequency_penalty=frequency, presence_penalty=presence, repetition_penalty=repetition
    )
    penalties = make_penalties(how, prompt)
    raw = np.random.default_rng(seed).standard_normal(10)
    values = raw.copy()
    if penalties is None:
        assert (frequency, presence, repetition) == (0, 0, 1)
        return
    for token in output:
        penalties.push(token)
    penalties.apply(values)
    counts = Counter(output)
    for token, value in enumerate(raw):
        if token in {*prompt, *output} and repetition != 1:
            value = value / repetition if value > 0 else value * repetition
        value -= frequency * counts[token] + presence * (counts[token] > 0)
        assert values[token] == pytest.approx(value)


def test_nothing_is_made_where_nothing_is_asked_for() -> None:
    assert make_penalties(Sampling(), [1, 2]) is None
