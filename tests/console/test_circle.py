from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import msgspec
from tests.release.test_aliases import B, C

from liveweights.console.circle import (
    STEPS,
    Ended,
    Traffic,
    find_alarms,
    foresee,
    read_circle,
)
from liveweights.cycle import ledger
from liveweights.cycle.attempt import Attempt
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.states import News, State
from liveweights.learn.job import PROGRESS, Progress
from liveweights.release import canaries, deployments
from liveweights.store.database import open_pool

from .story import SUBJECT, tell

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = CycleSettings(every=3600, min_feedback=50, rest=600)
QUIET = Traffic(answers=0, failed=0, cancelled=0, feedback=0)


def test_every_open_state_is_told() -> None:
    assert [*STEPS, "ended"] == list(get_args(State))


def test_the_next_cycle_comes_in_time_or_after_enough_reactions() -> None:
    same = Attempt()
    at_the_hour = foresee(News(3, 0, since_start=1800, since_end=1700), same, SETTINGS, NOW)
    assert at_the_hour.at == NOW + timedelta(minutes=30)
    assert (at_the_hour.judged, at_the_hour.needed) == (3, 50)
    assert foresee(News(0, 0, since_start=1e6, since_end=1e6), same, SETTINGS, NOW).at is None
    rest = foresee(News(60, 0, since_start=900, since_end=300), same, SETTINGS, NOW)
    assert rest.at == NOW + timedelta(minutes=5)
    assert "enough" in rest.why
    now = foresee(News(60, 0, since_start=900, since_end=math.inf), same, SETTINGS, NOW)
    assert (now.at, now.why) == (None, "it is about to begin")
    short = Attempt(wanted=20, why="cycle 3 ended as INCONCLUSIVE")
    later = foresee(News(19, 9, since_start=1e6, since_end=1e6), short, SETTINGS, NOW)
    assert (later.at, later.differs) == (None, short.why)
    assert later.why == "it waits for new reactions, to 20 at least"


def test_alarms_are_what_somebody_should_look_at() -> None:
    failing = Traffic(answers=100, failed=6, cancelled=0, feedback=0)
    few = Traffic(answers=10, failed=9, cancelled=0, feedback=0)
    broken = Ended(id=3, outcome="rolled_back", reason="errors", at=NOW)
    fine = Ended(id=3, outcome="promoted", reason="better", at=NOW)
    assert find_alarms(failing, broken, ["drift"], {"host/m": "no memory"}) == (
        "host/m cannot answer with what is live: no memory",
        "6 of 100 requests of the last hour failed",
        "cycle 3 rolled back: errors",
        "drift",
    )
    assert find_alarms(few, fine, (), {}) == ()
    assert find_alarms(QUIET, None, (), {}) == ()


def test_the_circle_as_it_stands(database_dsn: str, tmp_path: Path) -> None:
    subject = replace(SUBJECT, home=tmp_path)

    async def go() -> None:
        pool = await open_pool(database_dsn)
        now = datetime.now(UTC)
        cycle = await tell(pool, now, answers=30)
        async with pool.connection() as conn:
            rest = await read_circle(conn, subject, "m")
            assert (rest.live, rest.canary, rest.turn) == (B, None, None)
            assert rest.ended is not None
            assert (rest.ended.id, rest.ended.outcome) == (cycle, "promoted")
            assert rest.alarms == ("server and trainer <b>differ</b>",)
            assert (rest.hour.answers, rest.day.answers, rest.day.feedback) == (31, 31, 3)
            assert rest.next is not None
            before = msgspec.structs.replace(rest.next, judged=99)
            assert await read_circle(
                conn, subject, "m", foreseen=before
            ) == msgspec.structs.replace(rest, next=before)
            upstream = await read_circle(conn, subject, "upstream")
            assert (upstream.learns, upstream.live, upstream.day) == (False, None, QUIET)

            opened = await ledger.advance(conn, await ledger.begin(conn, "m", {}), "learning")
            folder = tmp_path / "cycles" / str(opened.id)
            folder.mkdir(parents=True)
            progress = Progress(
                stage="updating", done=3, total=8, part=0.4, stage_seconds=1.0, seconds=1.0
            )
            (folder / PROGRESS).write_bytes(msgspec.json.encode(progress))
            learning = await read_circle(conn, subject, "m")
            assert learning.turn is not None
            assert (learning.turn.state, learning.turn.done, learning.turn.total) == (
                *("learning", 3, 8),
            )
            assert learning.next is None
            assert await read_circle(conn, subject, "m", foreseen=before) == learning
            for state in ("calibrating", "warming", "gating", "canary"):
                opened = await ledger.advance(conn, opened, state, candidate=C)
            await canaries.start_canary(conn, "m", C, 0.1, reason="the gate passed")
            await deployments.report(conn, "here", B, "failed", error="no memory")
            trying = await read_circle(conn, subject, "m")
            assert trying.turn is not None
            assert trying.turn.why == "answering a share of the sessions: the gate passed"
            assert (trying.canary, trying.share) == (C, 0.1)
            assert trying.alarms[0] == "here cannot answer with what is live: no memory"
        await pool.close()

    asyncio.run(go())
