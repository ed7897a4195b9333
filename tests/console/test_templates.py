from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.circle import STEPS, Circle, Next, Traffic, Turn
from liveweights.console.templates import count, duration, moment, number, percent, render

NOTHING = Traffic(answers=0, failed=0, cancelled=0, feedback=0)
CIRCLE = Circle(
    model="m",
    learns=True,
    live="m@1",
    canary=None,
    share=0.0,
    by_answer=False,
    shadow=0.0,
    held=False,
    turn=None,
    next=Next(at=None, why="it waits", differs="", judged=0, needed=5),
    ended=None,
    paused=None,
    hour=NOTHING,
    day=NOTHING,
    alarms=(),
)


def test_a_time_is_in_utc_until_the_page_knows_where_it_is() -> None:
    at = datetime(2026, 3, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=3)))
    assert moment(at) == (
        '<time datetime="2026-02-28T22:02:03Z" title="2026-02-28 22:02:03 UTC">'
        "2026-02-28 22:02 UTC</time>"
    )
    assert moment(None) == "–"
    assert moment(at.astimezone(UTC)) == moment(at)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (percent(None), "–"),
        (percent(0.0), "0%"),
        (percent(1.0), "100%"),
        (percent(0.12345), "12.3%"),
        (number(None), "–"),
        (number(0.123456), "0.123"),
        (count(1234567), "1\u202f234\u202f567"),
        (duration(999.4), "999 ms"),
        (duration(12_345), "12.3 s"),
    ],
)
def test_figures_are_short(shown: str, text: str) -> None:
    assert shown == text


@given(st.text())
def test_nothing_that_was_written_is_markup(words: str) -> None:
    alarm = f"<script>{words}</script>"
    turn = Turn(id=1, state="canary", why=alarm, candidate=None)
    circle = render(
        "circle.html",
        steps=STEPS,
        circle=Circle(**shape(alarms=(alarm,), turn=turn)),  # type: ignore[arg-type]
    )
    assert "<script" not in circle
    assert circle.count("&lt;script&gt;") >= 2


def shape(**changes: object) -> dict[str, object]:
    return {name: getattr(CIRCLE, name) for name in CIRCLE.__struct_fields__} | changes


def test_the_state_of_an_open_cycle_stands_out() -> None:
    turn = Turn(id=4, state="learning", why="learning", candidate=None, done=3, total=8)
    page = render("circle.html", steps=STEPS, circle=Circle(**shape(turn=turn)))  # type: ignore[arg-type]
    assert page.count('aria-current="step"') == 1
    assert '<progress max="8" value="3"' in page
