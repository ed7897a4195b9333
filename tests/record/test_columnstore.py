"""Closed days as columnstore: the answers are those of plain partitions, whatever happens."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.timescale.database import ask_alone, needs_timescale, stored

from liveweights.gate.calibration import Draft
from liveweights.gate.drafts import keep_drafts, read_drafts
from liveweights.insight.catalogue import QUESTIONS
from liveweights.insight.window import make_window
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.record import quarantine, read, rollups, window
from liveweights.record.archive import archive, restore
from liveweights.record.batch import Fate, find_new, prepare, store
from liveweights.record.binary import encode
from liveweights.record.feedback import Feedback
from liveweights.record.forget import Forgotten, forget
from liveweights.record.generation import Generation
from liveweights.record.refused import refused_feedback
from liveweights.store.columnstore import close_days
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of, ensure

from .rows import make_feedback, make_generation
from .test_rollups import charge, timed_id

pytestmark = needs_timescale

FIRST = datetime(2026, 2, 1, tzinfo=UTC)
DAYS = 3
ROWS = 400
AFTER = FIRST.date() + timedelta(days=DAYS)


def make_rows(seed: int = 7) -> tuple[list[Generation], list[Feedback]]:
    rng = random.Random(seed)
    generations: list[Generation] = []
    feedback: list[Feedback] = []
    for n in range(ROWS):
        at = FIRST + timedelta(seconds=rng.randrange(DAYS * 86_400))
        tokens = rng.randrange(1, 60)
        silent = rng.random() < 0.2
        g = make_generation(
            timed_id(at, n) if n % 40 else f"g{n}",
            created_at=at,
            alias=rng.choice(("live", "live", "other")),
            checkpoint=rng.choice(("a@1", "b@2")),
            prompt_ids=[rng.randrange(50_000) for _ in range(200)],
            output_ids=[rng.randrange(50_000) for _ in range(tokens)],
            logprobs=[-rng.random() for _ in range(tokens)],
            raw_logprobs=[-rng.random() for _ in range(tokens)],
            output="" if silent else "x = 1" * tokens,
            finish_reason=rng.choice(("stop", "stop", "cancelled", "error")),
            tenant=rng.choice(("default", "shop")),
            user=rng.choice(("ada", "bob", None)),
            surface=rng.choice(("editor", "")),
            first_token_ms=rng.uniform(1, 500),
            total_ms=rng.uniform(500, 5000),
        )
        generations.append(g)
        for k in range(rng.choice((0, 0, 1, 2))):
            signal = rng.choice(("accepted", "rejected", "edited", "thumbs", "correction"))
            feedback.append(
                make_feedback(
                    f"f{n}.{k}",
                    g.id,
                    tenant=g.tenant,
                    signal=signal,
                    value=rng.choice((-1.0, 1.0)) if signal == "thumbs" else None,
                    text="x = 1" if signal in ("edited", "correction") else None,
                    received_at=at + timedelta(seconds=rng.randrange(4000)),
                )
            )
    return generations, feedback


GENERATIONS, FEEDBACK = make_rows()
VIEWS = {
    "answers": "id",
    "reactions": "seq",
    "stats": "1, 2, 3, 4, 5, 6",
    "latency": "1, 2, 3, 4, 5, 6, 7, 8",
}


async def write(
    conn: Connection, generations: list[Generation], feedback: list[Feedback]
) -> list[Fate]:
    """As the writer does it."""
    rows = [encode(g) for g in generations]
    await ensure(conn, {row.day for row in rows})
    columnstore = await prepare(conn)
    await conn.commit()
    fates = await store(conn, rows, feedback, columnstore=columnstore, charge=charge)
    await conn.commit()
    return fates


async def answers(conn: Connection) -> dict[str, Any]:
    """What anybody may ask of these days."""
    now = FIRST + timedelta(days=DAYS)
    found: dict[str, Any] = {}
    for name, question in QUESTIONS.items():
        for step in ("1h", "1d"):
            over = make_window(f"{DAYS}d", now=now, step=step)
            rows = await question.ask(conn, over, Worths(RewardMap()), question.by)
            found[f"{name} {step}"] = sorted(rows, key=repr)
    for view, order in VIEWS.items():
        cursor = await conn.execute(f"select * from {view} order by {order}".encode())
        found[view] = await cursor.fetchall()
    found["generations"] = [await read.generation(conn, g.id) for g in GENERATIONS[:30]]
    found["differences"] = await rollups.differences(conn)
    return found


async def close(conn: Connection) -> int:
    await conn.commit()
    return await close_days(conn, AFTER)


async def columnar(conn: Connection) -> int:
    return sum(columns for _, columns in await stored(conn))


@pytest.fixture
def columns_dsn(timescale_dsn: str) -> str:
    ask_alone(timescale_dsn, lambda conn: write(conn, GENERATIONS, FEEDBACK))
    return timescale_dsn


@pytest.fixture
def plain_dsn(database_dsn: str) -> str:
    ask_alone(database_dsn, lambda conn: write(conn, GENERATIONS, FEEDBACK))
    return database_dsn


def on_a_closed_day() -> Generation:
    return next(g for g in GENERATIONS if day_of(g.id) == FIRST.date() and g.user == "ada")


def test_the_answers_are_those_of_plain_partitions(columns_dsn: str, plain_dsn: str) -> None:
    plain = ask_alone(plain_dsn, answers)
    assert plain["differences"] == []
    assert ask_alone(columns_dsn, answers) == plain
    assert ask_alone(columns_dsn, close) == DAYS
    assert ask_alone(columns_dsn, columnar) == DAYS
    assert ask_alone(columns_dsn, answers) == plain


def test_late_feedback_for_a_closed_day_counts_once(columns_dsn: str, plain_dsn: str) -> None:
    ask_alone(columns_dsn, close)
    g = on_a_closed_day()
    one = make_feedback("late", g.id, tenant=g.tenant, signal="thumbs", value=1.0)
    unknown = make_feedback("nothing", timed_id(FIRST, 10**6))
    for dsn in (columns_dsn, plain_dsn):
        fates = ask_alone(dsn, lambda conn: write(conn, [], [one, unknown]))
        assert fates == [Fate.NEW, Fate.UNKNOWN]
        assert ask_alone(dsn, lambda conn: write(conn, [], [one])) == [Fate.REPEAT]
    assert ask_alone(columns_dsn, answers) == ask_alone(plain_dsn, answers)
    # The day is as it was: nothing of it was taken out of its columns.
    assert ask_alone(columns_dsn, close) == 0


def test_late_answers_join_a_closed_day(columns_dsn: str, plain_dsn: str) -> None:
    ask_alone(columns_dsn, close)
    late = make_generation(timed_id(FIRST + timedelta(hours=5), 10**6), created_at=FIRST)
    known = on_a_closed_day()

    async def again(conn: Connection) -> list[str]:
        await prepare(conn)
        await conn.commit()
        return [row.id for row in await find_new(conn, [encode(known), encode(late)])]

    async def twice(conn: Connection) -> None:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await write(conn, [late, known], [])

    for dsn in (columns_dsn, plain_dsn):
        ask_alone(dsn, twice)
        assert ask_alone(dsn, again) == [late.id]
        ask_alone(dsn, lambda conn: write(conn, [late], []))
        assert ask_alone(dsn, again) == []
    assert ask_alone(columns_dsn, answers) == ask_alone(plain_dsn, answers)
    assert ask_alone(columns_dsn, close) == 1
    assert ask_alone(columns_dsn, close) == 0
    assert ask_alone(columns_dsn, answers) == ask_alone(plain_dsn, answers)


def test_a_user_is_forgotten_on_closed_days(columns_dsn: str, plain_dsn: str) -> None:
    ask_alone(columns_dsn, close)
    found: list[Forgotten] = []
    for dsn in (columns_dsn, plain_dsn):
        found.append(ask_alone(dsn, lambda conn: forget(conn, "default", "ada")))
    assert found[0] == found[1]
    assert found[0].generations > 20
    assert ask_alone(columns_dsn, answers) == ask_alone(plain_dsn, answers)
    assert ask_alone(columns_dsn, close) == DAYS
    assert ask_alone(columns_dsn, answers) == ask_alone(plain_dsn, answers)


def test_a_closed_day_is_archived_and_brought_back(
    columns_dsn: str, plain_dsn: str, tmp_path: Path
) -> None:
    day: date = FIRST.date()
    before = ask_alone(plain_dsn, answers)
    ask_alone(columns_dsn, close)
    done = {
        dsn: ask_alone(dsn, lambda conn, folder=folder: archive(conn, day, folder))
        for dsn, folder in ((columns_dsn, tmp_path / "columns"), (plain_dsn, tmp_path / "rows"))
    }
    one, other = done.values()
    assert (one.generations, one.feedback) == (other.generations, other.feedback)
    assert ask_alone(columns_dsn, columnar) == DAYS - 1
    gone, same = (ask_alone(dsn, answers) for dsn in done)
    assert gone == same
    assert gone["answers"] != before["answers"]
    # The files are the same to either.
    ask_alone(columns_dsn, lambda conn: restore(conn, day, tmp_path / "columns"))
    ask_alone(plain_dsn, lambda conn: restore(conn, day, tmp_path / "rows"))
    assert ask_alone(columns_dsn, answers) == ask_alone(plain_dsn, answers) == before
    assert ask_alone(columns_dsn, close) == 1
    assert ask_alone(columns_dsn, answers) == before
    dropped = ask_alone(columns_dsn, lambda conn: archive(conn, day, tmp_path, keep=False))
    assert (dropped.generations, dropped.files) == (one.generations, {})


def test_feedback_comes_out_of_quarantine_for_closed_days(columns_dsn: str) -> None:
    ask_alone(columns_dsn, close)
    said = make_feedback("late", GENERATIONS[0].id, tenant=GENERATIONS[0].tenant)

    async def retry(conn: Connection) -> tuple[int, int]:
        await conn.commit()
        await conn.set_autocommit(True)
        await quarantine.keep(conn, refused_feedback(said, None, ValueError("then")))
        return await quarantine.retry(conn)

    assert ask_alone(columns_dsn, retry) == (1, 0)


def test_a_cycle_claims_and_reads_closed_days(columns_dsn: str, plain_dsn: str) -> None:
    ask_alone(columns_dsn, close)

    async def turn(conn: Connection) -> list[Any]:
        await conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('a@1', 'base', '/', '{}')"
        )
        await conn.execute("insert into aliases (name, live) values ('live', 'a@1')")
        cursor = await conn.execute(
            "insert into cycles (alias, state, incumbent, settings)"
            " values ('live', 'claim', 'a@1', '{}') returning id"
        )
        row = await cursor.fetchone()
        assert row is not None
        cycle: int = row[0]
        claimed = await window.claim(
            conn, cycle, "live", held_back_share=0.4, max_rows=100, max_held_back=50
        )
        train = await window.read(conn, cycle, "train")
        held_back = await window.read(conn, cycle, "held_back")
        some = {example.generation.id: Draft("y", -1.0) for example in held_back[:5]}
        some["gone"] = Draft("z", -2.0)
        asked = dict.fromkeys(some, "so")
        await keep_drafts(conn, cycle, checkpoint="a@1", engine="torch", drafts=some, asked=asked)
        replayed = await read_drafts(conn, "a@1", "torch", asked)
        await conn.commit()
        return [claimed, train, held_back, replayed]

    columns, rows = (ask_alone(dsn, turn) for dsn in (columns_dsn, plain_dsn))
    assert columns == rows
    assert columns[0].train > 50
    assert len(columns[3]) == 5
    forgotten = ask_alone(columns_dsn, lambda conn: forget(conn, "default", "ada"))
    assert forgotten == ask_alone(plain_dsn, lambda conn: forget(conn, "default", "ada"))
