"""When an upstream is left alone, and when it is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.hosted.breaker import FAILURES, LONGEST_PAUSE, PAUSE, Breaker


def open_breaker(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now, trial=breaker.begin())
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0, trial=breaker.begin())
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0, trial=breaker.begin())
    assert breaker.admits(0.0)
    breaker.failed(0.0, trial=breaker.begin())
    assert not breaker.admits(0.0)
    assert not breaker.admits(PAUSE - 0.1)
    assert breaker.wait(1.0) == PAUSE - 1.0


def test_there_is_one_trial_and_its_end_decides() -> None:
    breaker = open_breaker()
    assert breaker.admits(PAUSE)
    trial = breaker.begin()
    assert trial
    assert not breaker.admits(PAUSE)
    breaker.failed(PAUSE, trial=trial)
    assert not breaker.admits(3 * PAUSE - 0.1)  # twice as long
    assert breaker.admits(3 * PAUSE)
    breaker.begin()
    breaker.succeeded()
    assert breaker.admits(3 * PAUSE)
    assert breaker.wait(3 * PAUSE) == 0.0


def test_a_trial_whose_caller_left_is_made_by_another() -> None:
    breaker = open_breaker()
    breaker.left(trial=breaker.begin())
    assert breaker.admits(PAUSE)


def test_failures_of_before_do_not_lengthen_the_pause() -> None:
    breaker = open_breaker()
    breaker.failed(5.0, trial=False)
    assert breaker.wait(5.0) == PAUSE - 5.0


@given(st.lists(st.tuples(st.sampled_from(["well", "fails", "left"]), st.floats(0, 300))))
def test_it_never_shuts_for_longer_than_the_longest_pause(
    course: list[tuple[str, float]],
) -> None:
    breaker, now = Breaker(), 0.0
    for outcome, passed in course:
        now += passed
        if breaker.admits(now):
            trial = breaker.begin()
            if outcome == "well":
                breaker.succeeded()
                assert breaker.admits(now)
            elif outcome == "fails":
                breaker.failed(now, trial=trial)
            else:
                breaker.left(trial=trial)
        assert 0 <= breaker.wait(now) <= LONGEST_PAUSE
        assert breaker.admits(now + LONGEST_PAUSE)
