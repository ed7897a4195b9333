from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from liveweights.record.clean import InvalidRow
from liveweights.record.forget import Forgotten, forget

from .rows import make_feedback, make_generation
from .test_window import Begin, End, ask, claim, record

BASE = "base@000000000000"


@pytest.fixture
def register(database_dsn: str) -> Callable[..., str]:
    def add(id: str, parent: str = BASE, kind: str = "adapter", base: str | None = BASE) -> str:
        with psycopg.connect(database_dsn) as conn:
            conn.execute(
                "insert into checkpoints (id, kind, folder, base, parent, card) "
                "values (%s, %s, '/nowhere', %s, %s, '{}')",
                (id, kind, base, parent),
            )
        return id

    return add


def counts(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as conn:
        return [
            conn.execute(f"select count(*) from {table}".encode()).fetchone()[0]  # type: ignore[index]
            for table in ("generations", "feedback", "cycle_rows")
        ]


def forget_user(dsn: str, tenant: str, user: str) -> Forgotten:
    return ask(dsn, lambda conn: forget(conn, tenant, user))


def test_only_this_users_rows_go(
    database_dsn: str, begin_cycle: Begin, end_cycle: End, register: Callable[..., str]
) -> None:
    record(
        database_dsn,
        make_generation("a1"),
        make_generation("a2"),
        make_generation("b", user="bob"),
        make_generation("a-elsewhere", user="ada", tenant="other"),
        *(make_feedback(f"f{n}", id) for n, id in enumerate(("a1", "a1", "a2", "b"))),
        make_feedback("fx", "a-elsewhere", tenant="other"),
    )
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    end_cycle(cycle, "promoted", register("m@1"))
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into replays (cycle, checkpoint, engine, generation, answer)"
            " values (%(c)s, 'm@1', 'e', 'a1', 'x'), (%(c)s, 'm@1', 'e', 'b', 'y')",
            {"c": cycle},
        )
    assert forget_user(database_dsn, "default", "ada") == Forgotten(2, 3, ["m@1"])
    assert counts(database_dsn) == [2, 2, 2]
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select generation from replays").fetchall() == [("b",)]


def test_all_descendants_are_named_and_nothing_else(
    database_dsn: str, begin_cycle: Begin, end_cycle: End, register: Callable[..., str]
) -> None:
    register("before@1")
    record(database_dsn, make_generation("b", user="bob"), make_feedback("fb", "b"))
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    end_cycle(cycle, "promoted", register("bobs@1"))

    record(database_dsn, make_generation("a"), make_feedback("fa", "a"))
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    end_cycle(cycle, "promoted", register("adas@1", parent="bobs@1"))
    register("child@1", parent="adas@1")
    register("merged@1", parent="child@1", kind="full", base=None)
    register("on-merged@1", parent=BASE, base="merged@1")
    register("sibling@1", parent="bobs@1")

    named = ["adas@1", "child@1", "merged@1", "on-merged@1"]
    assert forget_user(database_dsn, "default", "ada") == Forgotten(1, 1, named)
    register("late@1", parent="child@1")
    again = forget_user(database_dsn, "default", "ada")
    assert again == Forgotten(0, 0, sorted([*named, "late@1"]))
    assert forget_user(database_dsn, "default", "nobody") == Forgotten(0, 0, [])


def test_a_checkpoint_that_is_still_being_made_is_named_later(
    database_dsn: str, begin_cycle: Begin, end_cycle: End, register: Callable[..., str]
) -> None:
    record(database_dsn, make_generation("a"), make_feedback("fa", "a"))
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    assert forget_user(database_dsn, "default", "ada").checkpoints == []
    end_cycle(cycle, "promoted", register("made@1"))
    assert forget_user(database_dsn, "default", "ada").checkpoints == ["made@1"]
    with psycopg.connect(database_dsn) as conn:
        text = str(conn.execute("select * from forgotten").fetchall())
    assert "ada" not in text


def test_users_of_any_length_and_what_is_in_quarantine_go_too(database_dsn: str) -> None:
    long = "ada" * 2000
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table generations add check (output <> 'poison')")
        conn.execute("alter table feedback add check (text <> 'poison')")
    poison: dict[str, Any] = {"signal": "comment", "text": "poison"}
    record(
        database_dsn,
        make_generation("a", user=long),
        make_generation("a-refused", user=long, output="poison"),
        make_generation("b", user=long + "b"),
        make_generation("b-refused", user=long + "b", output="poison"),
    )
    for id, about in (("fa", "a"), ("fb", "b")):
        with pytest.raises(InvalidRow):
            record(database_dsn, make_feedback(id, about, **poison))
    assert forget_user(database_dsn, "default", long).generations == 1
    with psycopg.connect(database_dsn) as conn:
        left = conn.execute("select id from generations").fetchall()
        kept = conn.execute("select id from quarantine order by id").fetchall()
    assert ([id for (id,) in left], [id for (id,) in kept]) == (["b"], ["b-refused", "fb"])
