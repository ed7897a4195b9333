from __future__ import annotations

from liveweights.cycle.pace import SHARE, Pace


def test_the_longer_a_question_took_the_longer_until_the_next() -> None:
    time = 0.0
    pace = Pace(lambda: time)
    assert pace.is_time()
    for took in (0.5, 8.0):
        with pace.asking():
            time += took
        time += took / SHARE - took - 0.25
        assert not pace.is_time()
        time += 0.25
        assert pace.is_time()
