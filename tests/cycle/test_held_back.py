"""Which prompts a candidate is judged on, and how many where silence is to be learnt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from tests.record.rows import START, make_feedback, make_generation

from liveweights.config import Config
from liveweights.cycle import held_back, ledger
from liveweights.cycle.held_back import read_cases
from liveweights.gate.scoring import Case
from liveweights.gate.settings import GateSettings
from liveweights.learn.settings import LearnSettings
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.window import claim
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

BASE = "m@000000000001"
SHARE = 0.9999
SETTINGS = Config(gate=GateSettings(cases=20), learn=LearnSettings(held_back_share=SHARE))


def read(
    dsn: str, *turns: list[Generation | Feedback], silence: bool, gate: dict[str, Any]
) -> list[Case]:
    """The cases of the last of cycles that have claimed the rows of a turn each."""

    async def add(rows: list[Generation | Feedback]) -> None:
        pool = await open_pool(dsn)
        async with Writer(pool, linger=0.0) as writer:
            for row in rows:
                if isinstance(row, Generation):
                    await writer.add_generation(row)
                else:
                    await writer.add_feedback(row)
        await pool.close()

    async def main() -> list[Case]:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            await conn.execute(
                "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
                (BASE,),
            )
            await conn.execute("insert into aliases (name, live) values ('code', %s)", (BASE,))
            for number, rows in enumerate(turns, 1):
                await conn.commit()
                await add(rows)
                cycle = await ledger.begin(conn, "code", {})
                await claim(
                    conn, cycle.id, "code", held_back_share=SHARE, max_rows=9999, max_held_back=9999
                )
                if number < len(turns):
                    await ledger.advance(conn, cycle, "ended", outcome="promoted")
            changed = msgspec.structs.replace(SETTINGS.gate, **gate)
            settings = msgspec.structs.replace(SETTINGS, gate=changed).for_worker()
            return [case for case, _ in await read_cases(conn, cycle, settings, silence=silence)]

    return asyncio.run(main())


def make_rows(count: int, right_every: int, **changes: Any) -> list[Generation | Feedback]:
    rows: list[Generation | Feedback] = []
    for n in range(count):
        name = f"gen{n:04}"
        values = {"alias": "code", "checkpoint": BASE, "selection": -0.1, "session": f"s{n // 3}"}
        rows.append(make_generation(name, **{**values, **changes}))
        said = "accepted" if n % right_every == 0 else "rejected"
        rows.append(make_feedback(f"f{name}", name, signal=said))
    return rows


def test_what_cannot_be_asked_uses_nothing_up(database_dsn: str, tmp_path: Path) -> None:
    """Chats, and later steps of an episode, are no cases, however new they are."""
    chats = [
        make_generation(f"new-chat{n}", alias="code", checkpoint=BASE, endpoint="chat")
        for n in range(40)
    ]
    steps = [
        make_generation(
            f"new-step{n:02}",
            alias="code",
            checkpoint=BASE,
            session="e",
            created_at=START.replace(hour=1, minute=n),
        )
        for n in range(40)
    ]
    rows = [
        *make_rows(30, 2),
        *chats,
        *steps,
        *(make_feedback(f"f{g.id}", g.id) for g in chats),
        *(make_feedback(f"f{g.id}", g.id, signal="reward", value=1.0, episode="e") for g in steps),
    ]
    cases = read(database_dsn, rows, silence=False, gate={})
    # The newest: the episode's first step, and of the completions beside it the last.
    assert {case.generation for case in cases} == {
        "new-step00",
        *(f"gen{n:04}" for n in range(11, 30)),
    }
    sessions = [case.session for case in cases]
    assert sessions == sorted(sessions)


def test_for_silence_prompts_are_drafted_until_enough_were_right(
    database_dsn: str, monkeypatch: Any
) -> None:
    """Where one in ten is right, 45 right ones are among 450, on more than a page of rows."""
    monkeypatch.setattr(held_back, "PAGE", 100)
    cases = read(database_dsn, make_rows(600, 10), silence=True, gate={})
    assert sum(case.truth is not None for case in cases) == 45
    assert 440 < len(cases) <= 450


def test_there_are_bounds_to_that(database_dsn: str) -> None:
    rows = make_rows(120, 60)
    assert len(read(database_dsn, rows, silence=True, gate={"silence_cases": 70})) == 70


def test_where_no_silence_is_learnt_no_more_are_drafted(database_dsn: str) -> None:
    assert len(read(database_dsn, make_rows(60, 10), silence=False, gate={})) == 20


def test_nor_where_nobody_welcomes_it(database_dsn: str) -> None:
    rows = make_rows(60, 10, selection=None)
    assert len(read(database_dsn, rows, silence=True, gate={})) == 20


def test_who_has_voted_before_is_known_also_without_a_vote_in_this_cycle(database_dsn: str) -> None:
    known = SETTINGS.learn.known_votes

    def vote(turn: int, user: str) -> list[Generation | Feedback]:
        names = [f"{user}-{turn}-{number}" for number in range(known)]
        made = {"alias": "code", "checkpoint": BASE, "user": user}
        return [
            *(make_generation(name, **made) for name in names),
            *(make_feedback(f"f{name}", name) for name in names),
        ]

    turns = [
        [*vote(1, "ada"), *vote(1, "bob"), *vote(1, "carl")],
        [*vote(2, "ada"), *vote(2, "bob")],
        [*vote(3, "ada"), *vote(3, "new")],
    ]
    cases = read(database_dsn, *turns, silence=False, gate={"cases": 9999})
    voters = {case.generation.partition("-")[0]: case.voter for case in cases}
    assert {user: voter.known for user, voter in voters.items()} == {
        "ada": True,
        "bob": True,
        "carl": True,
        "new": False,
    }
