from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.job import Progress, Step
from liveweights.learn.progress import Tracker, Work


def run(scored: int, compared: int, trained: int, size: int) -> list[Progress]:
    """All that an update tells that goes on in passes of ``size`` rows."""
    told: list[Progress] = []
    ticks = itertools.count()
    tracker = Tracker(Work(scored, compared, trained), told.append, lambda: float(next(ticks)))
    for _ in range(0, scored, size):
        tracker.passed(size, scored)
    tracker.begin("comparing")
    for _ in range(0, compared, size):
        tracker.passed(size, compared)
    for done in range(size, trained + size, size):
        step = Step(
            done=min(done, trained), total=trained, steps=done // size, loss=1.0, kl=0.1,
            grad_norm=2.0,
        )  # fmt: skip
        tracker.stepped(step)
    tracker.begin("measuring", scored)
    for _ in range(0, scored, size):
        tracker.passed(size, scored)
    return told


@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 60), st.integers(1, 20))
def test_what_is_done_only_grows_and_ends_at_all_of_it(
    scored: int, compared: int, trained: int, size: int
) -> None:
    told = run(scored, compared, trained, size)
    parts = [progress.part for progress in told]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert all(progress.done <= progress.total or not progress.total for progress in told)
    assert [stage for stage, _ in itertools.groupby(p.stage for p in told)] == [
        *("scoring", "comparing", "updating", "measuring")
    ]
    assert told[-1].seconds_left == 0.0
    assert told[-1].grad_norm == 2.0


def test_a_speed_and_an_estimate_come_with_the_first_rows() -> None:
    first = run(10, 2, 20, 5)[0]
    assert (first.stage, first.done, first.total) == ("scoring", 5, 10)
    assert first.rows_per_second is not None
    assert first.seconds_left is not None
    assert first.seconds_left > first.seconds


def test_before_the_first_row_nothing_is_estimated() -> None:
    told: list[Progress] = []
    Tracker(Work(10, 2, 20), told.append).begin("scoring", 10)
    assert (told[0].rows_per_second, told[0].seconds_left) == (None, None)
