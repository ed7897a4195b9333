from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from liveweights.record import quarantine, rollups
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.record.clean import InvalidRow
from liveweights.record.followups import Unheard, keep_moods
from liveweights.record.forget import Forgotten, Traces, forget
from liveweights.record.refused import refused_generation
from liveweights.record.shadow import keep_shadow
from liveweights.record.shadow_answer import ShadowAnswer
from liveweights.store.database import Connection, open_pool
from liveweights.store.partitions import UNDATED

from .rows import make_feedback, make_generation
from .test_window import Begin, End, ask, claim, record

BASE = "base@000000000000"
WAITING = (
    "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
    " where not granted and datname = current_database()"
)


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
            "insert into drafts (cycle, checkpoint, engine, generation, asked, answer, confidence)"
            " values (%(c)s, 'm@1', 'e', 'a1', '', 'x', -1), (%(c)s, 'm@1', 'e', 'b', '', 'y', -1)",
            {"c": cycle},
        )
    assert forget_user(database_dsn, "default", "ada") == Forgotten(2, 3, ["m@1"])
    assert counts(database_dsn) == [2, 2, 2]
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select generation from drafts").fetchall() == [("b",)]


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


def now(seconds: float = 0.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def ids(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as conn:
        return {id for (id,) in conn.execute("select id from generations").fetchall()}


def test_what_was_asked_before_and_comes_later_is_not_recorded(database_dsn: str) -> None:
    """Such as an answer that was under way, or rows that waited on disk; and what is asked
    afterwards is."""
    record(database_dsn, make_generation("a", created_at=now()), make_feedback("fa", "a"))
    forget_user(database_dsn, "default", "ada")
    record(
        database_dsn,
        make_generation("late", created_at=now(-60)),
        make_feedback("fl", "late"),
        make_generation("b", user="bob", created_at=now(-60)),
        make_feedback("fb", "b"),
        make_generation("other", tenant="other", created_at=now(-60)),
        make_generation("nobody", user=None, created_at=now(-60)),
        make_generation("new", created_at=now(60)),
        make_feedback("fn", "new"),
    )
    assert ids(database_dsn) == {"b", "other", "nobody", "new"}
    with psycopg.connect(database_dsn) as conn:
        left = {id for (id,) in conn.execute("select id from feedback_keys").fetchall()}
        assert left == {"fb", "fn"}
    assert ask(database_dsn, rollups.differences) == []


def test_what_is_refused_later_is_not_in_quarantine(database_dsn: str) -> None:
    """Such as rows that waited on disk; nor what could not even be encoded."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table generations add check (output <> 'poison')")
    forget_user(database_dsn, "default", "ada")
    poison: dict[str, Any] = {"output": "poison"}
    odd: dict[str, Any] = {"temperature": "warm"}
    record(
        database_dsn,
        make_generation("late", created_at=now(-60), **poison),
        make_generation("late-odd", created_at=now(-60), **odd),
        make_generation("b", user="bob", created_at=now(-60), **poison),
        make_generation("b-odd", user="bob", created_at=now(-60), **odd),
        make_generation("nobody", user=None, created_at=now(-60), **poison),
        make_generation("new", created_at=now(60), **poison),
        make_generation("new-odd", created_at=now(60), **odd),
    )
    with psycopg.connect(database_dsn) as conn:
        kept = {id for (id,) in conn.execute("select id from quarantine").fetchall()}
    assert kept == {"b", "b-odd", "nobody", "new", "new-odd"}


def test_what_is_being_put_into_quarantine_is_waited_for(database_dsn: str) -> None:
    announced = "select exists (select from forgotten)"
    row = refused_generation(encode(make_generation("a", created_at=now(-60))), ValueError("no"))

    async def work() -> int:
        pool = await open_pool(database_dsn)

        async def forget_ada() -> None:
            async with pool.connection() as conn:
                await forget(conn, "default", "ada")

        try:
            async with pool.connection() as looking:
                async with pool.connection() as keeping, keeping.transaction():
                    assert await quarantine.keep(keeping, row)
                    forgetting = asyncio.create_task(forget_ada())
                    while await (await looking.execute(announced)).fetchone() != (True,):
                        await looking.rollback()
                    await asyncio.sleep(0.5)
                    assert not forgetting.done()
                await forgetting
                return await quarantine.count(looking)
        finally:
            await pool.close()

    assert asyncio.run(work()) == 0


def test_two_that_forget_at_once_do_not_wait_for_each_other(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"), make_generation("b", user="bob"))

    async def work() -> list[Forgotten]:
        pool = await open_pool(database_dsn)

        async def forget_one(user: str) -> Forgotten:
            async with pool.connection() as conn:
                return await forget(conn, "default", user)

        try:
            async with pool.connection() as looking, pool.connection() as holding:
                async with asyncio.TaskGroup() as group, holding.transaction():
                    # In the middle of what it removes.
                    await holding.execute("lock table drafts in access exclusive mode")
                    first = group.create_task(forget_one("ada"))
                    await wait_for(looking, WAITING, 1)
                    second = group.create_task(forget_one("bob"))
                    await wait_for(looking, "select count(*) from forgotten", 2)
                return [await first, await second]
        finally:
            await pool.close()

    assert asyncio.run(work()) == [Forgotten(1, 0, []), Forgotten(1, 0, [])]


async def wait_for(looking: Connection, question: LiteralString, count: int) -> None:
    while True:
        row = await (await looking.execute(question)).fetchone()
        await looking.commit()
        if row == (count,):
            return


def test_it_does_not_wait_for_who_gathers_statistics(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"))

    async def work() -> Forgotten:
        async with (
            await psycopg.AsyncConnection.connect(database_dsn) as analyzing,
            await psycopg.AsyncConnection.connect(database_dsn) as conn,
        ):
            await analyzing.execute("lock table generations in share update exclusive mode")
            await conn.execute("set lock_timeout = '1s'")
            await conn.commit()
            return await forget(conn, "default", "ada")

    assert asyncio.run(work()).generations == 1


def test_who_writes_does_not_queue_behind_one_who_waits_to_forget(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"))

    async def work() -> list[bool]:
        async with (
            await psycopg.AsyncConnection.connect(database_dsn) as slow,
            await psycopg.AsyncConnection.connect(database_dsn) as other,
            await psycopg.AsyncConnection.connect(database_dsn) as conn,
        ):
            await slow.execute("lock table only responses in row exclusive mode")
            task = asyncio.create_task(forget(conn, "default", "ada"))
            try:
                await wait_for(other, "select count(*) from forgotten", 1)
                await other.execute("set lock_timeout = '1s'")
                for _ in range(20):
                    await other.execute("lock table only responses in row exclusive mode")
                    await other.commit()
                    await asyncio.sleep(0.01)
                waits = not task.done()
            finally:
                await slow.rollback()
                forgotten = await task
            return [waits, forgotten.generations == 1]

    assert asyncio.run(work()) == [True, True]


def test_others_are_recorded_while_the_rest_of_it_takes_long(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"), make_generation("b", user="bob"))

    async def work() -> int:
        async with (
            await psycopg.AsyncConnection.connect(database_dsn) as holding,
            await psycopg.AsyncConnection.connect(database_dsn) as other,
            await psycopg.AsyncConnection.connect(database_dsn) as conn,
        ):
            # All that it removes besides answers waits, and what is done with it.
            await holding.execute("lock table quarantine, cycles in access exclusive mode")
            task = asyncio.create_task(forget(conn, "default", "ada"))
            try:
                await wait_for(other, WAITING, 1)
                await other.execute("set lock_timeout = '1s'")
                columnstore = await prepare(other)
                await other.commit()
                new = encode(make_generation("c", user="bob"))
                await store(other, [new], [], columnstore=columnstore)
                await other.commit()
            finally:
                await holding.rollback()
                forgotten = await task
            return forgotten.generations

    assert asyncio.run(work()) == 1
    assert ids(database_dsn) == {"b", "c"}
    assert ask(database_dsn, rollups.differences) == []


def test_requests_of_the_users_chats_that_name_nobody_go_too(
    database_dsn: str, begin_cycle: Begin
) -> None:
    """Their prompts repeat what was said before."""
    chat = {"endpoint": "chat", "session": "s"}
    record(
        database_dsn,
        make_generation("first", **chat),
        make_generation("second", **{**chat, "user": None}),
        make_generation("bobs", **{**chat, "user": "bob"}),
        make_generation("elsewhere", **{**chat, "user": None, "session": "t"}),
        make_generation("other", **{**chat, "user": None, "tenant": "other"}),
        make_generation("line", user=None, session="s"),
        make_feedback("fb", "bobs"),
    )
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    found: list[Traces] = []

    async def also(conn: Connection, traces: Traces) -> None:
        found.append(traces)

    removed = ask(database_dsn, lambda conn: forget(conn, "default", "ada", also=also))
    assert removed.generations == 2
    assert ids(database_dsn) == {"bobs", "elsewhere", "other", "line"}
    # What bob was answered may have been judged by what ada asked next.
    assert found == [Traces((cycle,), (UNDATED,))]


def test_answers_in_the_shadow_that_come_later_are_not_kept(
    database_dsn: str, register: Callable[..., str], begin_cycle: Begin
) -> None:
    register("m@1")

    def shade(user: str | None, asked_at: datetime) -> None:
        answer = ShadowAnswer(
            generation=f"{user}{asked_at}",
            tenant="default",
            user=user,
            asked_at=asked_at,
            checkpoint="m@1",
            alias="live",
            created_at=now(),
            session=None,
            output="x",
            finish_reason="stop",
            total_ms=1.0,
        )

        async def keep(conn: Connection) -> None:
            await keep_shadow(conn, answer)
            await conn.commit()

        ask(database_dsn, keep)

    forget_user(database_dsn, "default", "ada")
    for user, at in (("ada", now(-60)), ("ada", now(60)), ("bob", now(-60)), (None, now(-60))):
        shade(user, at)
    with psycopg.connect(database_dsn) as conn:
        kept = conn.execute("select generation from shadow_answers").fetchall()
    assert sorted(id[:3] for (id,) in kept) == ["Non", "ada", "bob"]


def test_how_a_message_sounded_goes_with_whoever_wrote_it(
    database_dsn: str, begin_cycle: Begin
) -> None:
    chat = {"endpoint": "chat", "session": "s"}
    record(
        database_dsn,
        make_generation("a", user="bob", **chat),
        make_generation("b", **chat),
        make_generation("c", user="bob", endpoint="chat", session="t"),
    )

    async def keep(conn: Connection) -> None:
        heard = [Unheard(now(), "after", id, None, [], None) for id in ("a", "b", "c")]
        await keep_moods(conn, [(one, "neutral") for one in heard], "tests:none")
        await conn.commit()

    def kept() -> list[tuple[str]]:
        with psycopg.connect(database_dsn) as conn:
            return conn.execute("select generation from follow_ups order by 1").fetchall()

    ask(database_dsn, keep)
    assert kept() == [("a",), ("b",), ("c",)]
    forget_user(database_dsn, "default", "ada")
    assert kept() == [("c",)]
    ask(database_dsn, keep)
    assert kept() == [("a",), ("c",)]  # nothing of what is gone
