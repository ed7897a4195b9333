"""Two releases on real weights under traffic, then feedback to what the first model said."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from tests.circle.service import Running, rows, running

from liveweights.learn.baseline import Baseline
from liveweights.learn.rewards import RewardMap
from liveweights.learn.rows import build_rows
from liveweights.learn.settings import LearnSettings
from liveweights.record.window import read
from liveweights.replay.client import Reaction

pytestmark = [pytest.mark.model, pytest.mark.fault, pytest.mark.alone]


async def release_twice(run: Running) -> int:
    """Let cycles end until two checkpoints were promoted; the last cycle's number."""
    for cycle in range(1, 6):
        await run.until(cycle, "ended")
        if (await run.status()).releases >= 2:
            return cycle
    raise AssertionError(f"no two releases in five cycles: {(await run.status()).cycles}")


async def answer_without_reaction(run: Running, count: int) -> list[str]:
    """Answers of different sessions that nobody reacted to; their generations' ids."""
    found: list[str] = []
    for number in range(count):
        answer = await run.client.complete(
            f"def late_{number}(value):\n    return",
            model="code",
            temperature=0.7,
            max_tokens=6,
            session=f"late-{number}",
            user="late",
        )
        found.append(answer.generation)
    return found


async def late_feedback() -> None:
    async with running() as run:
        # No more than each cycle reads: what comes late is read last.
        run.users.rate = 1.2
        late = await answer_without_reaction(run, 8)
        last = await release_twice(run)
        base = run.users.answered[next(iter(run.users.answered))]
        assert (await run.status()).live != base
        for generation in late:
            await run.client.feedback(generation, Reaction("accepted"))
        cycle = await find_cycle(run, last, late)
        await check_rows(run, cycle, late, base)
        assert not run.users.failures


async def find_cycle(run: Running, last: int, late: list[str]) -> int:
    """The first cycle that learnt from late rows, once it has ended."""
    for cycle in range(last + 1, last + 4):
        await run.until(cycle, "ended")
        claimed = rows(
            run,
            "select from cycle_rows where cycle = %s and generation = any(%s) and split = 'train'",
            cycle,
            late,
        )
        if claimed:
            return cycle
    raise AssertionError("no cycle learnt from the late feedback")


async def check_rows(run: Running, cycle: int, late: list[str], base: str) -> None:
    """What the update was given, which is as the record has it."""
    async with await psycopg.AsyncConnection.connect(run.dsn) as conn:
        train = await read(conn, cycle, "train")
    found = [example for example in train if example.generation.id in late]
    recorded = {
        id: (checkpoint, logprobs)
        for id, checkpoint, logprobs in rows(
            run, "select id, checkpoint, logprobs from generations where id = any(%s)", late
        )
    }
    (incumbent,) = rows(run, "select incumbent from cycles where id = %s", cycle)[0]
    built = build_rows(
        found, Baseline.empty(), RewardMap(), LearnSettings(), encode=lambda text: [len(text)]
    )
    assert {row.generation for row in built.rows} == {e.generation.id for e in found}
    for row in built.rows:
        checkpoint, logprobs = recorded[row.generation]
        assert checkpoint == base
        assert incumbent != base
        assert row.role == "policy"
        assert row.behaviour == pytest.approx(logprobs, abs=1e-6)


@pytest.mark.timeout(900)
def test_late_feedback_is_learnt_with_what_was_recorded_when_it_was_served() -> None:
    asyncio.run(late_feedback())
