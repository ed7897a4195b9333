from __future__ import annotations

from datetime import UTC, datetime, timedelta

from liveweights.release.course import Course, chart

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_clock_of_a_canary_stands_still_while_it_is_held() -> None:
    def at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    changes = [
        ("canary", 0.0, at(0)),  # in the shadow
        ("step", 0.05, at(100)),
        ("hold", None, at(130)),
        ("resume", None, at(500)),
        ("step", 0.5, at(510)),
    ]
    course = chart(changes, at(520))
    assert (course.began, course.shown, course.seconds) == (at(0), at(100), 50.0)
    assert chart(changes[:3], at(400)).seconds == 30.0
    assert chart(changes[:1], at(50)) == Course(at(0), None, at(50), 0.0)


def test_it_stands_still_in_a_hold_that_began_in_the_shadow() -> None:
    def at(hours: float) -> datetime:
        return START + timedelta(hours=hours)

    changes = [
        ("canary", 0.0, at(0)),
        ("hold", None, at(1)),
        ("step", 0.05, at(2)),
        ("resume", None, at(10)),
    ]
    assert chart(changes[:3], at(9)) == Course(at(0), at(2), at(9), 0.0)
    assert chart(changes, at(11)).seconds == 3600.0
