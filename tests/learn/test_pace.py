"""The step size follows what steps do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.pace import LEAST, Pace, adjust


@given(st.floats(LEAST, 1.0), st.floats(0, 1e3), st.floats(1e-6, 10))
def test_stays_between_its_bounds(rate: float, divergence: float, allowed: float) -> None:
    now = adjust(rate, divergence, allowed)
    assert LEAST <= now <= 1.0
    assert now <= rate or divergence < allowed
    assert now >= rate or divergence > allowed


def end(stiffness: float, steps: int = 40, target: float = 0.1) -> tuple[float, float]:
    """Divergence and rate in the end, where a whole step moves by ``stiffness``, all steps in one
    direction, and the divergence is the square of the distance."""
    pace, distance = Pace(float(steps), target), 0.0
    for _ in range(steps):
        pace.follow(1.0, distance**2)
        distance += stiffness * pace.rate
    return distance**2, pace.rate


def test_a_sharp_model_takes_small_steps_and_a_stiff_one_whole_ones() -> None:
    sharp, slowed = end(0.05)  # at whole steps it would end at 4.0
    assert sharp < 0.3
    assert slowed < 0.5
    stiff, rate = end(0.005)
    assert stiff < 0.1
    assert rate == 1.0


def test_what_server_and_trainer_differ_by_is_no_divergence() -> None:
    pace = Pace(10.0, 0.1)
    for _ in range(9):
        pace.follow(1.0, 0.05)
    assert pace.rate == 1.0


def test_steps_that_measure_nothing_are_on_the_path_and_leave_the_rate() -> None:
    pace = Pace(10.0, 0.1)
    for _ in range(5):
        pace.follow(1.0, None)
    assert pace.rate == 1.0
    # Half the path allows half the target: what five steps did is no difference of the server's.
    pace.follow(1.0, 0.5)
    assert pace.rate < 1.0
    on_path = Pace(10.0, 0.1)
    on_path.follow(1.0, 0.0)
    for _ in range(4):
        on_path.follow(1.0, None)
    on_path.follow(1.0, 0.05)
    assert on_path.rate == 1.0
