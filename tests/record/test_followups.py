from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from liveweights.record.followups import count_follow_ups, read_follow_ups
from liveweights.record.generation import Generation
from liveweights.record.readable import Readable

from .rows import START, make_feedback, make_generation
from .test_window import ask, claim, claimed, record

Begin = Callable[[], int]


def chat(id: str, second: int, **changes: Any) -> Generation:
    at = START + timedelta(seconds=second)
    values = {"endpoint": "chat", "session": "s", "created_at": at, "prompt_ids": [second]}
    return make_generation(id, **{**values, **changes})


def test_a_chat_answer_is_read_once_its_session_goes_on(
    database_dsn: str, begin_cycle: Begin
) -> None:
    record(
        database_dsn,
        chat("first", 1),
        chat("second", 2),
        chat("last", 3),
        chat("alone", 4, session="other"),
        chat("nobodys", 5, session=None),
        chat("elsewhere", 6, tenant="another"),
        chat("private", 7, session="p", consent=False),
        chat("after", 8, session="p"),
        make_generation("code", session="s"),
    )
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    assert claimed(database_dsn, cycle) == {"first", "second"}
    assert ask(database_dsn, lambda conn: read_follow_ups(conn, cycle)) == {
        "first": [2],
        "second": [3],
    }


def test_an_answer_with_feedback_keeps_its_follow_up(database_dsn: str, begin_cycle: Begin) -> None:
    record(
        database_dsn,
        chat("first", 1),
        chat("second", 2),
        make_feedback("f", "first", signal="thumbs", value=-1.0),
        make_feedback("g", "first", signal="rejected"),
    )
    cycle = begin_cycle()
    assert claim(database_dsn, cycle).total == 1
    assert ask(database_dsn, lambda conn: read_follow_ups(conn, cycle)) == {"first": [2]}


def test_follow_ups_are_news(database_dsn: str) -> None:
    record(database_dsn, chat("first", 1), chat("second", 2), chat("third", 3))

    def since(seconds: float, most: int = 9) -> int:
        moment = START + timedelta(seconds=seconds)
        readable = Readable("live")
        return ask(database_dsn, lambda conn: count_follow_ups(conn, readable, moment, most=most))

    assert (since(0), since(2.5), since(3), since(0, 1)) == (2, 1, 0, 1)
