"""kill -9 of every process at every state of a cycle: nothing acknowledged is lost, no checkpoint
is half visible, and the cycle finishes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.circle.service import Part, Running, rows, running

from liveweights.weights.registry import Registry, verify

pytestmark = [pytest.mark.fault, pytest.mark.model, pytest.mark.alone]

STATES = ("learning", "warming", "gating", "canary")
PARTS: tuple[Part, ...] = ("engine", "api", "worker", "postgres")


@dataclass(frozen=True)
class Kill:
    cycle: int
    state: str
    part: Part
    at: float
    back: float


async def wait_for_return(run: Running, part: Part) -> None:
    """Until the part runs again and the service answers."""
    async with asyncio.timeout(90):
        while not run.pids(part):
            await asyncio.sleep(0.1)
        while not await run.client.is_healthy():
            await asyncio.sleep(0.1)


async def kill_once_in(run: Running, cycle: int, state: str, part: Part) -> Kill | None:
    """Kill the part as soon as the cycle is in the state; None if it ended before."""
    if await run.until(cycle, state, "ended") == "ended":
        return None
    at = time.monotonic()
    assert run.kill(part), f"there is no {part} to kill while {state}"
    await wait_for_return(run, part)
    return Kill(cycle, state, part, at, time.monotonic())


async def kill_learner(run: Running, cycle: int, progress: bool) -> Kill:
    """Kill the update itself, before its first step or in the midst of it."""
    await run.until(cycle, "learning")
    async with asyncio.timeout(120):
        path = run.home / "cycles" / str(cycle) / "progress.json"
        while not run.pids("learner") or (progress and not _steps_made(path)):
            await asyncio.sleep(0.02)
    at = time.monotonic()
    assert run.kill("learner")
    return Kill(cycle, "learning", "learner", at, time.monotonic())


def _steps_made(path: Path) -> int:
    try:
        return json.loads(path.read_text())["steps"]
    except (FileNotFoundError, ValueError):
        return 0


def check(run: Running, kills: list[Kill]) -> None:
    """What must hold whatever was killed."""
    stored = rows(run, "select generation, signal, count(*) from feedback group by 1, 2")
    found = {(generation, signal): count for generation, signal, count in stored}
    for generation in run.users.acknowledged:
        for signal in ("rejected", "correction"):
            assert found.get((generation, signal)) == 1, (generation, signal)

    # Only what was under way in the API itself, or came while it was away, may have failed.
    away = [(kill.at, kill.back) for kill in kills if kill.part == "api"]
    for began, error in run.users.failures:
        assert any(began <= back and began + 60 >= at for at, back in away), error

    registry = Registry(run.home / "checkpoints")
    for checkpoint in registry.checkpoints():
        verify(registry.load(checkpoint))
    for _, folder in rows(run, "select id, folder from checkpoints"):
        assert any(Path(folder).glob("*.safetensors")), folder

    found_cycles = rows(run, "select id, outcome, reason, ended_at is null from cycles")
    cycles = {id: rest for id, *rest in found_cycles}
    for kill in kills:
        outcome, reason, is_open = cycles[kill.cycle]
        assert not is_open
        assert outcome in ("promoted", "rejected", "rolled_back"), reason
    promoted = sum(outcome == "promoted" for outcome, *_ in cycles.values())
    (releases,) = rows(run, "select count(*) from releases where action = 'promote'")[0]
    assert releases == promoted


async def survive(rounds: list[dict[str, Part]]) -> None:
    async with running() as run:
        kills: list[Kill] = []
        cycle = 0
        for turn, plan in enumerate(rounds):
            cycle = await run.next_cycle(cycle)
            for state, part in plan.items():
                if part == "learner":
                    kills.append(await kill_learner(run, cycle, progress=turn % 2 == 1))
                elif kill := await kill_once_in(run, cycle, state, part):
                    kills.append(kill)
            assert await run.until(cycle, "ended") == "ended"
        await asyncio.sleep(1)
        assert len(run.users.acknowledged) > 40
        check(run, kills)
        assert {kill.part for kill in kills} >= {part for plan in rounds for part in plan.values()}


def turned(by: int) -> dict[str, Part]:
    """Each state with another process: four turns are every pair."""
    return {state: PARTS[(place + by) % 4] for place, state in enumerate(STATES)}


@pytest.mark.timeout(900)
def test_a_cycle_finishes_whatever_is_killed() -> None:
    asyncio.run(survive([{"learning": "learner", **{s: turned(0)[s] for s in STATES[1:]}}]))


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_process_may_be_killed_in_every_state() -> None:
    asyncio.run(survive([*(turned(n) for n in range(4)), *({"learning": "learner"},) * 2]))
