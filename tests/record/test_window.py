from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import pytest

from liveweights.record import read, window
from liveweights.record.bases import read_foreign
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback, Mood
from liveweights.record.followups import Unheard, keep_moods
from liveweights.record.generation import Generation
from liveweights.record.split import split_key, split_of
from liveweights.record.window import Claim, UnknownCycle
from liveweights.record.writer import Writer
from liveweights.release import aliases
from liveweights.store.database import Connection, open_pool

from .rows import START, make_feedback, make_generation

Begin = Callable[[], int]
End = Callable[..., None]
T = TypeVar("T")
HOUR = timedelta(hours=1)


def record(dsn: str, *rows: Generation | Feedback) -> None:
    async def main() -> None:
        pool = await open_pool(dsn)
        async with Writer(pool, linger=0.0) as writer:
            for row in rows:
                if isinstance(row, Generation):
                    await writer.add_generation(row)
                else:
                    await writer.add_feedback(row)
        await pool.close()

    asyncio.run(main())


def ask(dsn: str, question: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await question(conn)

    return asyncio.run(main())


def claim(
    dsn: str,
    cycle: int,
    share: float = 0.0,
    max_rows: int = 1000,
    max_held_back: int = 1000,
    *,
    others: bool = False,
) -> Claim:
    return ask(
        dsn,
        lambda conn: window.claim(
            conn,
            cycle,
            "live",
            held_back_share=share,
            max_rows=max_rows,
            max_held_back=max_held_back,
            others=others,
        ),
    )


def hear(dsn: str, moods: dict[str, Mood]) -> None:
    """Each of them was followed by a message that sounded so."""

    async def keep(conn: Connection) -> None:
        at = START + timedelta(hours=1)
        heard = [(Unheard(at, "next", id, None, [], None), mood) for id, mood in moods.items()]
        await keep_moods(conn, heard, "tests:none")
        await conn.commit()

    ask(dsn, keep)


def rows(dsn: str, cycle: int) -> list[Example]:
    return ask(dsn, lambda conn: window.read(conn, cycle, "train"))


def claimed(dsn: str, cycle: int) -> set[str]:
    return {example.generation.id for example in rows(dsn, cycle)}


def unread(dsn: str) -> int:
    """Rows of feedback that a new cycle would be the first to read."""

    async def count(conn: Connection) -> int:
        alias = await aliases.read(conn, "live")
        cursor = await conn.execute(
            "select count(*) from feedback_keys f"
            " join generations g on g.day = f.day and g.id = f.generation"
            " where g.alias = 'live' and g.consent and g.checkpoint <> all(%s::text[])"
            " and not exists (select from consumed where consumed.feedback = f.seq)",
            (await read_foreign(conn, alias.live),),
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0]

    return ask(dsn, count)


def test_what_is_claimed(database_dsn: str, begin_cycle: Begin) -> None:
    """Reacted-to and silent answers, of this alias, with consent; nothing else."""
    record(
        database_dsn,
        make_generation("reacted"),
        make_generation("unreacted"),
        make_generation("silent", output=""),
        make_generation("silent-reacted", output=""),
        make_generation("cancelled", output="", finish_reason="cancelled"),
        make_generation("no-consent", consent=False),
        make_generation("no-consent-silent", consent=False, output=""),
        make_generation("other-alias", alias="other"),
        *(
            make_feedback(f"f-{id}", id)
            for id in ("reacted", "silent-reacted", "no-consent", "other-alias")
        ),
    )
    cycle = begin_cycle()
    assert unread(database_dsn) == 2
    assert claim(database_dsn, cycle) == Claim(train=3, held_back=0)
    assert claimed(database_dsn, cycle) == {"reacted", "silent", "silent-reacted"}
    assert unread(database_dsn) == 0


def test_an_example_has_the_feedback_in_order_of_arrival(
    database_dsn: str, begin_cycle: Begin
) -> None:
    g, other = make_generation("g"), make_generation("h", output="")
    shown = make_feedback("z", "g", signal="shown")
    edited = make_feedback("a", "g", signal="edited", text="x = 2")
    record(database_dsn, g, other, shown, edited)
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    assert rows(database_dsn, cycle) == [Example(g, (shown, edited)), Example(other, ())]


def test_experts_are_read_where_something_is_learnt(database_dsn: str, begin_cycle: Begin) -> None:
    for number in range(8):
        g = make_generation(f"g{number}", user=None, experts=b"which")
        record(database_dsn, g, make_feedback(f"f{number}", g.id))
    cycle = begin_cycle()
    found = claim(database_dsn, cycle, share=0.5)
    assert found.train > 0 < found.held_back
    held = ask(database_dsn, lambda conn: window.read(conn, cycle, "held_back"))
    assert {example.generation.experts for example in held} == {None}
    assert {example.generation.experts for example in rows(database_dsn, cycle)} == {b"which"}


def test_claiming_again_changes_nothing(database_dsn: str, begin_cycle: Begin) -> None:
    record(database_dsn, make_generation("a"), make_feedback("fa", "a"))
    cycle = begin_cycle()
    first = claim(database_dsn, cycle)
    before = rows(database_dsn, cycle)
    record(database_dsn, make_generation("b"), make_feedback("fb", "b"), make_feedback("late", "a"))
    assert claim(database_dsn, cycle) == first == Claim(train=1, held_back=0)
    assert rows(database_dsn, cycle) == before
    assert unread(database_dsn) == 2


def test_late_feedback_brings_a_generation_back(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    first, late = make_feedback("first", "a"), make_feedback("late", "a", signal="rejected")
    a, b = make_generation("a"), make_generation("b")
    record(database_dsn, a, b, first, make_feedback("fb", "b"))
    one = begin_cycle()
    claim(database_dsn, one)
    end_cycle(one, "promoted")
    record(database_dsn, late)
    two = begin_cycle()
    assert claim(database_dsn, two).total == 1
    assert rows(database_dsn, two) == [Example(a, (first, late))]


@pytest.mark.parametrize("outcome", ["failed", "nothing", "aborted"])
def test_a_cycle_that_released_nothing_gives_its_rows_back(
    database_dsn: str, begin_cycle: Begin, end_cycle: End, outcome: str
) -> None:
    record(
        database_dsn,
        make_generation("a"),
        make_generation("silent", output=""),
        make_feedback("fa", "a"),
    )
    one = begin_cycle()
    claim(database_dsn, one)
    end_cycle(one, outcome)
    assert unread(database_dsn) == 1
    two = begin_cycle()
    assert claim(database_dsn, two).total == 2
    end_cycle(two, "promoted")
    assert unread(database_dsn) == 0
    assert claim(database_dsn, begin_cycle()).total == 0


def test_the_newest_come_first_and_the_rest_is_left_for_later_cycles(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    record(database_dsn, *(make_generation(f"g{n}") for n in range(6)))
    record(database_dsn, *(make_feedback(f"f{n}", f"g{n}") for n in (3, 1, 4, 0, 5, 2)))
    taken: list[set[str]] = []
    for left in (4, 2, 0, 0):
        cycle = begin_cycle()
        assert claim(database_dsn, cycle, max_rows=2).left == left
        taken.append(claimed(database_dsn, cycle))
        end_cycle(cycle, "promoted")
        assert unread(database_dsn) == left
    assert taken == [{"g5", "g2"}, {"g4", "g0"}, {"g3", "g1"}, set()]


def test_what_was_tried_in_vain_comes_after_what_is_new(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    record(database_dsn, *(make_generation(f"g{n}") for n in range(4)))
    record(database_dsn, *(make_feedback(f"f{n}", f"g{n}") for n in range(3)))
    taken: list[set[str]] = []
    left: list[int] = []
    for outcome in ("promoted", "rejected", "rejected", "rejected", "rejected"):
        cycle = begin_cycle()
        left.append(claim(database_dsn, cycle, max_rows=1).left)
        taken.append(claimed(database_dsn, cycle))
        end_cycle(cycle, outcome)
        if len(taken) == 2:  # late feedback for what is live is as new as any
            record(database_dsn, make_feedback("f3", "g3"), make_feedback("late", "g2"))
    assert taken == [{"g2"}, {"g1"}, {"g2"}, {"g3"}, {"g0"}]
    assert left == [2, 1, 2, 1, 0]


def test_each_side_has_its_own_bound(database_dsn: str, begin_cycle: Begin) -> None:
    record(database_dsn, *(make_generation(f"g{n}", session=f"s{n}") for n in range(60)))
    record(database_dsn, *(make_feedback(f"f{n}", f"g{n}") for n in range(60)))
    found = claim(database_dsn, begin_cycle(), 0.5, 7, 11)
    assert (found.train, found.held_back) == (7, 11)
    sides = [split_of(split_key("default", f"s{n}", "ada", f"g{n}"), 0.5) for n in range(60)]
    assert found.left == sides.count("train") - 7


def test_a_session_is_wholly_on_one_side(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    owners = [("s", None), ("t", "ada"), (None, "ada"), (None, None)]
    record(
        database_dsn,
        *(
            make_generation(f"{letter}{n}", session=session, user=user)
            for n, (session, user) in enumerate(owners * 10)
            for letter in "ab"
        ),
    )
    with psycopg.connect(database_dsn) as conn:
        ids = [id for (id,) in conn.execute("select id from generations")]
    record(database_dsn, *(make_feedback(f"f{id}", id) for id in ids))
    cycle = begin_cycle()
    found = claim(database_dsn, cycle, share=0.4)
    assert found.total == 80
    assert found.train > 0 < found.held_back
    sides = {
        side: ask(database_dsn, lambda conn, side=side: window.read(conn, cycle, side))
        for side in ("train", "held_back")
    }
    assert (len(sides["train"]), len(sides["held_back"])) == (found.train, found.held_back)
    for side, examples in sides.items():
        for g in (example.generation for example in examples):
            assert split_of(split_key(g.tenant, g.session, g.user, g.id), 0.4) == side
    end_cycle(cycle, "failed")
    again = begin_cycle()
    assert claim(database_dsn, again, share=0.4) == found
    assert claimed(database_dsn, again) == {e.generation.id for e in sides["train"]}


def test_an_unknown_cycle_is_an_error(database_dsn: str, begin_cycle: Begin) -> None:
    cycle = begin_cycle()
    with pytest.raises(UnknownCycle, match=f"no cycle {cycle + 1} "):
        claim(database_dsn, cycle + 1)
    with pytest.raises(UnknownCycle, match="alias 'other'"):
        ask(
            database_dsn,
            lambda conn: window.claim(
                conn, cycle, "other", held_back_share=0, max_rows=1, max_held_back=1
            ),
        )


def test_status_counts_everything(database_dsn: str, begin_cycle: Begin) -> None:
    record(
        database_dsn,
        make_generation("a"),
        make_generation("b", alias="other"),
        make_feedback("fa", "a"),
        make_feedback("fb", "b"),
    )
    begin_cycle()
    assert ask(database_dsn, read.totals) == (2, 2)
    assert unread(database_dsn) == 1


def test_what_was_only_shown_is_not_claimed(database_dsn: str, begin_cycle: Begin) -> None:
    """However often that was said: it would take the room of what teaches something."""
    record(
        database_dsn,
        *(make_generation(id) for id in ("shown", "judged", "both")),
        *(
            make_generation(
                id, endpoint="chat", session="s", prompt_ids=[1, n], created_at=START + HOUR * n
            )
            for n, id in enumerate(("asked", "went on"))
        ),
        make_feedback("a", "asked", signal="shown"),
        *(make_feedback(f"s{n}", "shown", signal="shown") for n in range(9)),
        make_feedback("j", "judged"),
        make_feedback("b1", "both", signal="shown"),
        make_feedback("b2", "both", signal="rejected"),
    )
    hear(database_dsn, {"asked": "satisfied"})
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    assert claimed(database_dsn, cycle) == {"judged", "both", "asked"}
    (both,) = [e for e in rows(database_dsn, cycle) if e.generation.id == "both"]
    assert [f.signal for f in both.feedback] == ["shown", "rejected"]


def test_votes_of_earlier_cycles_make_a_user_known(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    """Answers that were reacted to, each once; neither what was only shown, nor what was left out,
    nor what this cycle reads again."""

    def earlier(cycle: int, most: int = 100) -> dict[tuple[str, str], int]:
        return ask(database_dsn, lambda conn: window.count_earlier(conn, cycle, "live", most))

    def vote(*ids: str, user: str, signal: str = "accepted", **changes: Any) -> None:
        record(
            database_dsn,
            *(make_generation(id, user=user, **changes) for id in ids),
            *(
                make_feedback(
                    f"f{id}{n}", id, signal=signal, tenant=changes.get("tenant", "default")
                )
                for id in ids
                for n in range(2)
            ),
        )

    vote("a1", "a2", "a3", user="ada")
    vote("b1", user="bob")
    vote("t1", "t2", user="troll")
    vote("s1", user="shy", signal="shown")
    vote("x1", user="ada", tenant="other")
    first = begin_cycle()
    claim(database_dsn, first)
    assert earlier(first) == {}
    ask(database_dsn, lambda conn: left_out(conn, first, "t1", "t2"))
    end_cycle(first, "promoted")
    for user in ("ada", "bob", "troll", "shy", "new"):
        vote(f"{user}-again", user=user)
    second = begin_cycle()
    claim(database_dsn, second)
    assert earlier(second) == {("default", "ada"): 3, ("default", "bob"): 1}
    assert earlier(second, most=2)["default", "ada"] == 2
    end_cycle(second, "rejected")
    third = begin_cycle()
    claim(database_dsn, third)
    assert earlier(third) == {("default", "ada"): 3, ("default", "bob"): 1}


async def left_out(conn: Connection, cycle: int, *generations: str) -> None:
    await window.leave_out(conn, cycle, generations)
    await conn.commit()


def test_what_was_left_out_judges_no_later_cycle(database_dsn: str, begin_cycle: Begin) -> None:
    record(
        database_dsn,
        *(make_generation(id, user=id) for id in "abc"),
        *(make_feedback(f"f{id}", id) for id in "abc"),
    )
    cycle = begin_cycle()
    claim(database_dsn, cycle, share=0.9999)
    ask(database_dsn, lambda conn: left_out(conn, cycle, "b"))
    held = ask(
        database_dsn, lambda conn: window.read_held_back(conn, "live", cycle, cycles=9, most=9)
    )
    assert {example.generation.id for example in held} == {"a", "c"}


def test_nor_where_a_later_cycle_reads_it_again_and_does_not_know(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    record(
        database_dsn,
        *(make_generation(id, user=id) for id in "abc"),
        *(make_feedback(f"f{id}", id) for id in "abc"),
    )
    first = begin_cycle()
    claim(database_dsn, first, share=0.9999)
    ask(database_dsn, lambda conn: left_out(conn, first, "b"))
    end_cycle(first, "rejected")
    second = begin_cycle()
    claim(database_dsn, second, share=0.9999)

    def held_back(cycles: int) -> set[str]:
        found = ask(
            database_dsn, lambda conn: window.read_held_back(conn, "live", second, cycles=cycles)
        )
        return {example.generation.id for example in found}

    assert held_back(1) == {"a", "b", "c"}
    assert held_back(2) == {"a", "c"}


def test_what_another_base_answered_is_neither_claimed_nor_counted(
    database_dsn: str, begin_cycle: Begin
) -> None:
    """Its tokens mean nothing to this one. What no checkpoint of ours answered is text, and is."""
    cycle = begin_cycle()
    with psycopg.connect(database_dsn) as conn:
        for id, kind, base in (
            ("other@000000000000", "base", None),
            ("other@000000000001", "adapter", "other@000000000000"),
            ("base@000000000001", "adapter", "base@000000000000"),
        ):
            conn.execute(
                "insert into checkpoints (id, kind, folder, base, card)"
                " values (%s, %s, '/', %s, '{}')",
                (id, kind, base),
            )
    answered = {
        "own": "base@000000000000",
        "learnt": "base@000000000001",
        "foreign": "other@000000000000",
        "foreign-learnt": "other@000000000001",
        "imported": "gpt-old",
    }
    record(
        database_dsn,
        *(make_generation(id, checkpoint=checkpoint) for id, checkpoint in answered.items()),
        make_generation("foreign-silent", checkpoint="other@000000000000", output=""),
        *(make_feedback(f"f-{id}", id) for id in answered),
    )
    assert unread(database_dsn) == 3
    claim(database_dsn, cycle)
    assert claimed(database_dsn, cycle) == {"own", "learnt", "imported"}


def test_what_nobody_reacted_to_is_read_newest_first(database_dsn: str, begin_cycle: Begin) -> None:
    rows = [make_generation(f"g{n}", created_at=START + n * HOUR) for n in range(4)]
    chat = make_generation("chat", endpoint="chat", created_at=START + 9 * HOUR)
    private = make_generation("private", consent=False, created_at=START + 9 * HOUR)
    record(database_dsn, *rows, chat, private)
    record(database_dsn, make_feedback("f", "g3"), make_feedback("s", "g2", signal="shown"))
    cycle = begin_cycle()
    found = ask(database_dsn, lambda conn: window.read_unjudged(conn, "live", cycle, 2))
    assert {example.generation.id for example in found} == {"g2", "g1"}
    assert all(example.feedback == () for example in found)
    with pytest.raises(UnknownCycle):
        ask(database_dsn, lambda conn: window.read_unjudged(conn, "live", cycle + 1, 2))


def test_a_teachers_answers_that_users_took_are_learnt_from(
    database_dsn: str, begin_cycle: Begin, end_cycle: End
) -> None:
    record(
        database_dsn,
        make_generation("own"),
        *(make_generation(f"big-{id}", alias="big") for id in ("took", "thumb", "no", "kept")),
        make_generation("big-cut", alias="big", finish_reason="length"),
        make_generation("big-private", alias="big", consent=False),
        make_generation("big-abroad", alias="big", tenant="abroad"),
        make_generation("big-unrated", alias="big"),
        make_generation("far-took", alias="far"),
        make_feedback("own", "own", signal="rejected"),
        make_feedback("no", "big-no", signal="rejected"),
        make_feedback("thumb", "big-thumb", signal="thumbs", value=1),
        make_feedback("kept", "big-kept", signal="edited", text="x = 1"),
        make_feedback("abroad", "big-abroad", tenant="abroad"),
        *(make_feedback(id, id) for id in ("big-took", "big-cut", "big-private", "far-took")),
    )
    asked = set[tuple[str, str, str | None]]()

    def may_learn(alias: str, tenant: str, base: str | None) -> bool:
        asked.add((alias, tenant, base))
        return tenant != "abroad"

    def learn(cycle: int, share: float = 0.0) -> Claim:
        return ask(
            database_dsn,
            lambda conn: window.claim(
                conn,
                cycle,
                "live",
                held_back_share=share,
                max_rows=100,
                max_held_back=100,
                teacher="big",
                may_learn=may_learn,
            ),
        )

    cycle = begin_cycle()
    assert learn(cycle) == Claim(train=4, held_back=0)
    assert claimed(database_dsn, cycle) == {"own", "big-took", "big-thumb", "big-kept"}
    base = "base@000000000000"
    assert asked == {("live", "default", base), ("big", "default", base), ("big", "abroad", base)}
    end_cycle(cycle, "promoted")
    assert learn(begin_cycle()).total == 0  # each once


def test_nothing_is_judged_on_a_teachers_answers(database_dsn: str, begin_cycle: Begin) -> None:
    names = [f"big-{number}" for number in range(20)]
    record(
        database_dsn,
        *(make_generation(name, alias="big", user=name) for name in names),
        *(make_feedback(name, name) for name in names),
    )
    cycle = begin_cycle()
    found = ask(
        database_dsn,
        lambda conn: window.claim(
            conn,
            cycle,
            "live",
            held_back_share=0.5,
            max_rows=100,
            max_held_back=100,
            teacher="big",
        ),
    )
    assert found.held_back == 0
    assert 0 < found.train < len(names)
