from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cycle.product import BAD, BASE, GOOD, Habit, Product

from liveweights.config import Config
from liveweights.learn.rewards import RewardMap
from liveweights.record.answers import JudgedAnswer
from liveweights.record.feedback import Feedback
from liveweights.release import moves
from liveweights.release.page import draw_history, to_html, to_markdown
from liveweights.release.scorecard import (
    Row,
    Rows,
    Scorecard,
    compare,
    compare_segments,
    read_history,
    read_scorecard,
)
from liveweights.release.settings import CanarySettings
from liveweights.store.database import open_pool
from liveweights.weights.registry import NotRegistered

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(
    rng: np.random.Generator, sessions: int, ours: float, theirs: float, language: str = "python"
) -> list[Row]:
    made: list[Row] = []
    for number in range(sessions):
        candidate = bool(number % 2)
        luck = rng.normal(0, 0.2)  # of the whole session
        for _ in range(4):
            value = (ours if candidate else theirs) + luck + rng.normal(0, 0.1)
            labels = {"surface": "editor", "language": language, "tenant": "t"}
            session = f"{language}{number}"
            made.append(Row(candidate, session, value, value > 0, False, 0.5, labels))
    return made


def test_a_segment_that_lost_is_shown_though_everyone_won() -> None:
    rng = np.random.default_rng(0)
    mixed = rows(rng, 400, 0.5, 0.1) + rows(rng, 100, -0.3, 0.1, "cobol")
    everyone, *parts = compare_segments(mixed)
    assert everyone.improved == "yes"
    assert {(p.dimension, p.value): p.improved for p in parts} == {
        ("language", "cobol"): "no",
        ("language", "python"): "yes",
    }
    # Two languages share the error rate; surface and tenant are the same for all.
    assert {p.confidence for p in parts} == {0.975}
    assert everyone.difference == pytest.approx(0.24, abs=0.1)


def test_intervals_hold_the_truth_at_their_rate_when_sessions_are_alike() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        one = compare("all", "", rows(rng, 40, 0.1, 0.1), 0.95)
        assert one.low is not None
        assert one.high is not None
        missed += not one.low <= 0.0 <= one.high
    assert missed / 200 <= 0.08


@given(st.lists(st.tuples(st.booleans(), st.floats(-1, 1), st.integers(0, 3)), max_size=30))
def test_any_rows_give_a_segment_that_is_consistent(things: list[tuple[bool, float, int]]) -> None:
    made = [Row(c, f"s{s}", v, None, False, 0.1, {}) for c, v, s in things]
    one = compare("all", "", made, 0.95)
    assert one.candidate.rewards + one.incumbent.rewards == len(made)
    if one.low is not None and one.high is not None and one.difference is not None:
        assert one.low <= one.difference <= one.high
        assert math.isfinite(one.low)
    else:
        assert one.improved == "not shown"


def test_too_few_rewards_are_no_segment_of_their_own() -> None:
    rng = np.random.default_rng(2)
    few = rows(rng, 100, 0.5, 0.1) + rows(rng, 2, 0.5, 0.1, "apl")
    assert [p.value for p in compare_segments(few) if p.dimension == "language"] == ["python"]


def test_answers_become_rows_unless_they_broke_off() -> None:
    def answer(id_: str, output: str, finish: str, *signals: str) -> JudgedAnswer:
        said = tuple(
            Feedback(id=f"{id_}{n}", generation=id_, signal=s, received_at=NOW)  # type: ignore[arg-type]
            for n, s in enumerate(signals)
        )
        return JudgedAnswer(
            id=id_,
            checkpoint=GOOD,
            created_at=NOW,
            tenant="t",
            session=None,
            surface="",
            language="",
            output=output,
            finish_reason=finish,
            total_ms=250.0,
            feedback=said,
        )

    rows = Rows(GOOD, RewardMap())
    for one in (
        answer("a", "x", "stop", "accepted"),
        answer("b", "", "stop"),
        answer("c", "x", "length"),
        answer("d", "x", "error", "rejected"),
        answer("e", "x", "cancelled", "rejected"),
    ):
        rows.add(one)
    made = rows.conclude()
    assert [(r.session, r.reward, r.accepted, r.silent) for r in made] == [
        ("a", 0.75, True, False),
        ("b", 0.0, None, True),
        ("c", None, None, False),
    ]


def test_the_scorecard_of_a_canary_says_for_whom_and_how_many(
    database_dsn: str, tmp_path: Path
) -> None:
    async def go() -> list[Scorecard]:
        pool = await open_pool(database_dsn)
        canary = CanarySettings(
            steps=(0.5,), step_seconds=0.0, lowest=-0.25, highest=0.75, unit="reward"
        )
        habits = {
            BASE: Habit(accepted=0.3),
            GOOD: Habit(accepted=0.9),
            BAD: Habit(accepted=0.0, text="<b>no</b>"),
        }
        try:
            product = Product(pool, Config(canary=canary), tmp_path, habits)
            await product.fill()
            for name in (GOOD, BAD):
                await product.try_out(name)
                await product.run(40, 40, lambda cycle: cycle.state == "ended")
            async with pool.connection() as conn:
                await moves.rollback(conn, "code", reason="<script> trial")
                with pytest.raises(NotRegistered):
                    await read_scorecard(conn, "nobody@1", {})
                ids = await read_history(conn, "code")
                assert ids == [BASE, GOOD, BAD]
                return [await read_scorecard(conn, one, {}) for one in ids]
        finally:
            await pool.close()

    base, good, bad = history = asyncio.run(go())
    assert (base.improved, base.live, base.cycle) == ("not shown", (), None)
    assert (good.improved, good.outcome, good.incumbent) == ("yes", "promoted", BASE)
    assert good.withdrawn
    assert (bad.improved, bad.outcome, bad.incumbent) == ("no", "rolled_back", GOOD)
    assert bad.exposed is not None
    assert 0 < bad.exposed.users == bad.exposed.sessions
    assert bad.live[0].candidate.accepted == 0.0
    assert {"cycle_seconds", "canary_seconds"} <= bad.cost.keys()
    assert msgspec.json.decode(msgspec.json.encode(bad), type=Scorecard) == bad
    text = to_markdown(good)
    assert "**Improved: yes.** better on live traffic" in text
    assert "promoted, then taken back" in text
    assert "| everyone | +0." in text
    named = msgspec.structs.replace(
        good, alias="a | b\n# c", reason="[x](http://evil.example) <img src=x> `y` \x1b[2J [0, 1]"
    )
    text = to_markdown(named)
    assert "| alias | a \\| b\\n# c |" in text
    assert r"[x]\(http://evil.example) \<img src=x> \`y\` \x1b[2J [0, 1]" in text
    page = to_html(good, history)
    assert "&lt;script&gt; trial" in page
    assert "<script>" not in page
    assert page.count("<svg") == 1
    draw_history(history, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
