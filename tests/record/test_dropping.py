"""Of a day that is dropped for good nothing is left that nobody could find any more."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from liveweights.record.archive import archive
from liveweights.record.forget import Traces, forget, hash_of
from liveweights.record.response import response_of
from liveweights.record.shadow import expire_shadows
from liveweights.release import aliases
from liveweights.store.database import Connection

from .rows import make_feedback, make_generation
from .test_archive import DAY, NEXT
from .test_forget import wait_for
from .test_rollups import timed_id
from .test_window import Begin, End, ask, claim, record

ADA = "ädä"
BASE = "base@000000000000"


def prepare(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, base, parent, card)"
            " values (%(base)s, 'base', '/nowhere', null, null, '{}'),"
            " ('m@1', 'adapter', '/nowhere', %(base)s, %(base)s, '{}') on conflict do nothing",
            {"base": BASE},
        )


def shade(dsn: str, *generations: str, at: datetime = DAY) -> None:
    with psycopg.connect(dsn) as conn:
        for id in generations:
            conn.execute(
                "insert into shadow_answers values (%s, 'm@1', 'live', %s, null, 'x', 'stop', 1)",
                (id, at),
            )


def shaded(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("select generation from shadow_answers order by 1").fetchall()
    return [id for (id,) in rows]


def drop(dsn: str, folder: Path, keep: bool = False) -> None:
    ask(dsn, lambda conn: archive(conn, DAY.date(), folder, keep=keep))


@pytest.mark.parametrize("keep", [True, False])
def test_what_was_answered_besides_goes_with_the_day(
    database_dsn: str, tmp_path: Path, begin_cycle: Begin, keep: bool
) -> None:
    prepare(database_dsn)
    ids = [timed_id(at, number) for number, at in enumerate((DAY, NEXT))]
    for id, at in zip(ids, (DAY, NEXT), strict=True):
        record(database_dsn, make_generation(id, created_at=at))
    shade(database_dsn, *ids)
    cycle = begin_cycle()
    with psycopg.connect(database_dsn) as conn:
        for id in ids:
            conn.execute(
                "insert into drafts (cycle, checkpoint, engine, generation, asked, answer,"
                " confidence) values (%s, 'm@1', 'e', %s, '', 'x', -1)",
                (cycle, id),
            )
    drop(database_dsn, tmp_path, keep)
    assert shaded(database_dsn) == ids[1:]
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select generation from drafts").fetchall() == [(ids[1],)]


@pytest.mark.parametrize("tie", ["named", "session", "episode"])
def test_who_was_read_is_found_when_the_rows_are_gone(
    database_dsn: str, tmp_path: Path, begin_cycle: Begin, end_cycle: End, tie: str
) -> None:
    prepare(database_dsn)
    chat = {"endpoint": "chat", "session": "s" if tie == "session" else None}
    chat |= {"metadata": {"episode": "e"} if tie == "episode" else {}}
    mine, read, other = [timed_id(DAY, number) for number in range(3)]
    record(
        database_dsn,
        make_generation(mine, created_at=DAY, user=ADA, **chat),
        make_generation(read, created_at=DAY, user="bob" if tie == "session" else None, **chat),
        make_generation(other, created_at=DAY, user="cy", endpoint="chat"),
        make_feedback("f", mine if tie == "named" else read),
    )
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    end_cycle(cycle, "promoted", "m@1")
    drop(database_dsn, tmp_path)
    found: list[Traces] = []

    async def also(conn: Connection, traces: Traces) -> None:
        found.append(traces)

    for user, named in (("cy", []), (ADA, ["m@1"]), (ADA, ["m@1"])):
        done = ask(database_dsn, lambda c, user=user: forget(c, "default", user, also=also))
        assert (done.generations, done.checkpoints) == (0, named)
    assert [one.cycles for one in found] == [(), (cycle,), ()]
    with psycopg.connect(database_dsn) as conn:
        left = conn.execute("select user_hash, cycle from dropped_reads").fetchall()
    assert left == ([(hash_of("default", "bob"), cycle)] if tie == "session" else [])


@pytest.mark.parametrize("tie", ["session", "episode", "begun", "response", "told", "none"])
def test_the_name_may_be_told_on_another_day(
    database_dsn: str, tmp_path: Path, begin_cycle: Begin, end_cycle: End, tie: str
) -> None:
    prepare(database_dsn)
    named, read = timed_id(NEXT, 0), timed_id(DAY, 1)
    began = response_of(named)
    how: dict[str, Any] = {
        "session": {"session": "s"},
        "episode": {"metadata": {"episode": "e"}},
        "begun": {"metadata": {"episode": began}},
        "told": {"metadata": {"episode": "e"}},
    }.get(tie, {})
    record(
        database_dsn,
        make_generation(
            named,
            created_at=NEXT,
            user=ADA,
            endpoint="chat",
            **(how if tie in ("session", "episode") else {}),
        ),
        make_generation(read, created_at=DAY, user=None, endpoint="chat", **how),
        make_feedback("f", read),
    )
    stored = {
        "response": [(response_of(read), began, "{}")],
        "told": [("resp_x", began, '{"metadata": {"episode": "e"}}')],
    }
    with psycopg.connect(database_dsn) as conn:
        for row in stored.get(tie, ()):
            conn.execute(
                "insert into responses values (%s, 'default', null, %s, now(), '[]', %s)", row
            )
    cycle = begin_cycle()
    claim(database_dsn, cycle)
    end_cycle(cycle, "promoted", "m@1")
    drop(database_dsn, tmp_path)
    done = ask(database_dsn, lambda conn: forget(conn, "default", ADA))
    assert (done.generations, done.checkpoints) == (1, [] if tie == "none" else ["m@1"])


LOCKS: LiteralString = (
    "select count(*) from pg_locks where relation = '{}'::regclass and {} granted"
    " and mode = 'AccessExclusiveLock'"
)
WAITS: LiteralString = (
    "select count(*) from pg_locks where relation = 'dropped_reads'::regclass and not granted"
)


def test_writers_do_not_wait_for_the_notes_and_what_is_read_meanwhile_is_noted(
    database_dsn: str, tmp_path: Path, begin_cycle: Begin, end_cycle: End
) -> None:
    prepare(database_dsn)
    ids = [timed_id(DAY, number) for number in range(2)]
    record(
        database_dsn,
        make_generation(ids[0], created_at=DAY, user=ADA),
        make_generation(ids[1], created_at=DAY, user="bob"),
        make_feedback("f", ids[0]),
    )
    first = begin_cycle()
    claim(database_dsn, first)
    end_cycle(first, "promoted", "m@1")
    second = begin_cycle()

    async def work() -> None:
        async with (
            await psycopg.AsyncConnection.connect(database_dsn) as holding,
            await psycopg.AsyncConnection.connect(database_dsn) as reading,
            await psycopg.AsyncConnection.connect(database_dsn) as looking,
            await psycopg.AsyncConnection.connect(database_dsn) as conn,
        ):
            await holding.execute("lock table dropped_reads in share mode")
            task = asyncio.create_task(archive(conn, DAY.date(), tmp_path, keep=False))
            await wait_for(looking, WAITS, 1)
            locked = await looking.execute(LOCKS.format("generations", ""))
            assert await locked.fetchone() == (0,)
            await reading.execute("select from generations limit 1")
            await holding.rollback()
            await wait_for(looking, LOCKS.format("generations", "not"), 1)
            await reading.execute(
                "insert into cycle_rows (cycle, generation, split) values (%s, %s, 'train')",
                (second, ids[1]),
            )
            await reading.commit()
            await task

    asyncio.run(work())
    with psycopg.connect(database_dsn) as conn:
        noted = conn.execute("select user_hash, cycle from dropped_reads").fetchall()
    assert sorted(noted, key=lambda one: one[1]) == [
        (hash_of("default", ADA), first),
        (hash_of("default", "bob"), second),
    ]


def test_what_a_canary_answered_unseen_goes_a_week_after_it_ended(database_dsn: str) -> None:
    prepare(database_dsn)
    now = datetime.now(DAY.tzinfo)
    shade(database_dsn, "old", at=now - timedelta(days=8))
    shade(database_dsn, "young", at=now - timedelta(days=6))

    async def expire(conn: Connection) -> None:
        await expire_shadows(conn)
        await conn.commit()

    async def begin(conn: Connection) -> None:
        await aliases.create(conn, "x", BASE)
        await conn.execute("update aliases set canary = 'm@1', canary_share = 0.1")
        await conn.commit()

    ask(database_dsn, begin)
    ask(database_dsn, expire)
    assert shaded(database_dsn) == ["old", "young"]
    with psycopg.connect(database_dsn) as conn:
        conn.execute("update aliases set canary = null, canary_share = 0")
    ask(database_dsn, expire)
    assert shaded(database_dsn) == ["young"]
