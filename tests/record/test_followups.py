from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

from liveweights.record.followups import (
    Page,
    Unheard,
    count_follow_ups,
    find_unheard,
    keep_moods,
    read_follow_ups,
)
from liveweights.record.generation import Generation
from liveweights.record.readable import Readable
from liveweights.store.database import Connection

from .rows import START, make_feedback, make_generation
from .test_window import ask, claim, claimed, hear, record

Begin = Callable[[], int]


def chat(id: str, second: int, **changes: Any) -> Generation:
    at = START + timedelta(seconds=second)
    values = {"endpoint": "chat", "session": "s", "created_at": at, "prompt_ids": [second]}
    return make_generation(id, **{**values, **changes})


def test_what_goes_on_is_found_with_what_was_said_then(
    database_dsn: str, begin_cycle: Begin
) -> None:
    begin_cycle()
    record(
        database_dsn,
        chat("first", 1, prompt_ids=[1]),
        chat("second", 2, prompt_ids=[1, 2, 3]),
        chat("last", 3, prompt_ids=[9]),
        chat("alone", 4, session="other"),
        chat("nobodys", 5, session=None),
        chat("elsewhere", 6, tenant="another"),
        chat("private", 7, session="p", consent=False),
        chat("after", 8, session="p"),
        chat("open", 9, session="q"),
        chat("closed", 10, session="q", consent=False),
        make_generation("code", session="s"),
        chat("quiet", 11, session="r", output=""),
        chat("asked again", 12, session="r"),
        chat("judged", 13, session="t"),
        chat("asked on", 14, session="t"),
        make_feedback("f", "judged", signal="thumbs", value=-1.0),
    )

    def find(classifier: str, after: int = 0, most: int = 99) -> Page:
        place = (START + timedelta(seconds=after), "")
        return ask(
            database_dsn,
            lambda conn: find_unheard(conn, "live", classifier, place, most=most, last=0),
        )

    base = "base@000000000000"
    found = [
        Unheard(START + timedelta(seconds=2), "second", "first", base, [], [2, 3]),
        Unheard(START + timedelta(seconds=3), "last", "second", base, [], None),
    ]
    assert find("c") == Page(found, None)
    assert find("c", most=2) == Page(found[:1], (START + timedelta(seconds=2), "second"))
    assert find("c", after=3) == Page(found[1:], None)
    hear(database_dsn, {"first": "neutral"})
    assert find("tests:none") == Page(found[1:], None)
    assert find("c") == Page(found, None)  # another classifier reads all again


def test_prompts_of_what_was_heard_are_not_read(database_dsn: str, begin_cycle: Begin) -> None:
    begin_cycle()
    draw = random.Random(0)
    long = [draw.randrange(1 << 30) for _ in range(4000)]  # too long to stand in the row
    record(database_dsn, *(chat(f"g{n}", n, prompt_ids=[*long, *range(n)]) for n in range(1, 5)))

    async def find(conn: Connection) -> tuple[int, int]:
        """How many are unheard, and how many pages of long values were read."""
        before = await count(conn)
        page = await find_unheard(conn, "live", "tests:none", (START, ""), most=99, last=0)
        assert all(one.rest == [int(one.id[1:]) - 1] for one in page.unheard)
        return len(page.unheard), await count(conn) - before

    async def count(conn: Connection) -> int:
        await conn.execute("select pg_stat_force_next_flush()")
        await conn.commit()
        cursor = await conn.execute(
            "select sum(toast_blks_read + toast_blks_hit)::bigint from pg_statio_user_tables"
            " where relname like 'generations%'"
        )
        row = await cursor.fetchone()
        await conn.commit()
        assert row is not None
        return row[0]

    unheard, pages = ask(database_dsn, find)
    assert unheard == 3
    assert pages > 0
    hear(database_dsn, {f"g{n}": "neutral" for n in range(1, 4)})
    assert ask(database_dsn, find) == (0, 0)


def test_requests_of_the_same_moment_come_one_after_the_other(
    database_dsn: str, begin_cycle: Begin
) -> None:
    """As imports have the choices of a line, and logs in whole seconds."""
    cycle = begin_cycle()
    said = ("a1", "a2", "b1", "b2", "c1")
    record(database_dsn, *(chat(id, ord(id[0])) for id in said))

    async def hear_all(conn: Connection) -> list[tuple[str, str]]:
        page = await find_unheard(conn, "live", "c", (START, ""), most=99, last=0)
        await keep_moods(conn, [(one, "neutral") for one in page.unheard], "c")
        await conn.commit()
        return [(one.answer, one.id) for one in page.unheard]

    assert ask(database_dsn, hear_all) == list(pairwise(said))
    record(database_dsn, *(make_feedback(f"f-{id}", id, signal="rejected") for id in said))
    claim(database_dsn, cycle)
    nexts = {one: [ord(next[0])] for one, next in pairwise(said)}
    assert ask(database_dsn, lambda conn: read_follow_ups(conn, cycle)) == nexts


def test_a_chat_answer_is_read_once_its_next_message_says_something(
    database_dsn: str, begin_cycle: Begin
) -> None:
    record(database_dsn, *(chat(f"g{second}", second) for second in range(1, 5)))
    hear(database_dsn, {"g1": "dissatisfied", "g2": "neutral", "g3": "satisfied"})
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    assert claimed(database_dsn, cycle) == {"g1", "g3"}
    assert ask(database_dsn, lambda conn: read_follow_ups(conn, cycle)) == {"g1": [2], "g3": [4]}


def test_what_says_nothing_takes_no_place(database_dsn: str, begin_cycle: Begin) -> None:
    record(
        database_dsn,
        *(chat(f"g{second}", second) for second in range(1, 6)),
        make_feedback("f", "g1", signal="thumbs", value=-1.0, received_at=START),
    )
    hear(database_dsn, {f"g{second}": "neutral" for second in range(2, 5)})
    cycle = begin_cycle()
    found = claim(database_dsn, cycle, max_rows=1)
    assert (claimed(database_dsn, cycle), found.left) == ({"g1"}, 0)


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
