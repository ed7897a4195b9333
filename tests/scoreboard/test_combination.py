from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.statistics import Difference, adjusted_difference
from liveweights.scoreboard.combination import combine, turn
from liveweights.scoreboard.randomisation import randomised_difference

bits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30)


def difference(rows: list[tuple[bool, bool]]) -> Difference:
    return adjusted_difference([float(one) for one, _ in rows], [float(two) for _, two in rows])


@given(bits)
def test_of_one_suite_it_is_its_own(rows: list[tuple[bool, bool]]) -> None:
    one = difference(rows)
    joint = combine([one])
    assert joint is not None
    assert (joint.mean, joint.low, joint.high, joint.standard_error, joint.cases) == (
        pytest.approx(one.mean),
        pytest.approx(one.low),
        pytest.approx(one.high),
        pytest.approx(one.standard_error),
        one.cases,
    )


@given(bits, bits)
def test_what_is_turned_is_the_mirror_image(
    rows: list[tuple[bool, bool]], more: list[tuple[bool, bool]]
) -> None:
    parts = [difference(rows), difference(more)]
    joint, mirrored = combine(parts), combine([turn(part) for part in parts])
    assert joint is not None
    assert mirrored is not None
    assert turn(turn(joint)) == joint
    assert (mirrored.low, mirrored.wins) == (pytest.approx(turn(joint).low), turn(joint).wins)


def test_suites_of_equal_weight_are_combined() -> None:
    first = adjusted_difference([1.0] * 30 + [0.0] * 30, [0.0] * 60)
    second = adjusted_difference([0.0] * 20 + [1.0] * 20, [1.0] * 20 + [0.0] * 20)
    joint = combine([first, second])
    assert joint is not None
    assert (joint.mean, joint.cases) == (pytest.approx(0.25), 100)
    assert joint.low is not None
    assert 0 < joint.low < joint.mean


def test_there_is_none_without_an_interval_of_each() -> None:
    alone = adjusted_difference([1.0, 0.0], [0.0, 1.0])
    assert combine([]) is None
    assert combine([alone, adjusted_difference([1.0], [0.0])]) is None


def test_two_suites_keep_the_level() -> None:
    """Equal models on a suite of eight uneven groups and on one of 60 cases, 2,000 times."""
    rng = np.random.default_rng(2)
    names = np.repeat(np.arange(8), [60, 20, 10, 10, 5, 5, 5, 5])
    wrong = 0
    for _ in range(2000):
        ours, theirs = (rng.random((2, 120)) < rng.random((2, 8))[:, names]).astype(float)
        grouped, _ = randomised_difference(ours, theirs, names.tolist())
        joint = combine([grouped, adjusted_difference(*rng.integers(0, 2, (2, 60)).astype(float))])
        assert joint is not None
        wrong += joint.low is not None and joint.high is not None and joint.low * joint.high > 0
    assert wrong / 2000 <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5
