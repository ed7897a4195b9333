"""Candidates that are worse, each made by a real update, before the gate of a running service.

The learner's process is held up, what it would have made is put there, and it is killed: the
worker then takes the result that it finds, as it does after any crash.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.circle.service import WANTED, Running, rows, running

from liveweights.cycle.updating import run_learner, write_job
from liveweights.learn.job import RESULT, WEIGHTS, Job, read_job
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.replay.client import Reaction
from liveweights.weights.selection import Selection, write_selection

pytestmark = [pytest.mark.model, pytest.mark.fault, pytest.mark.slow]

# As by default, but for how many cases it takes, and for how far a cycle may go: these users want
# something that the model never says, and longer than what it says.
GATE: dict[str, Any] = {
    "cases": 40,
    "primary": "either",
    "min_cases": 20,
    "min_sessions": 5,
    "min_changed": 5,
    "min_answers": 20,
    "max_drift": 5.0,
    "max_length_ratio": 50.0,
    "max_withheld": 0.5,
    "max_silence": 0.9,
    "max_repetition_rise": 0.1,
}
SILENT = Selection(slope=1.0, intercept=-1e6)
"""One that withholds whatever the model drafts."""
LEARN: dict[str, Any] = {"max_rows": 60, "max_held_back": 60, "max_scored": 60}
CYCLE: dict[str, Any] = {"min_feedback": 200}
ONE_LINE = Path(__file__).parent / "one_line"
"""A suite of code that the packaged model mostly writes right."""

FAR = 1e3
"""A bound on the divergence, in nats per token, that bounds nothing."""
MARK = "value"
"""What the users like to see in a suggestion."""


def choose(text: str) -> tuple[Reaction, ...]:
    if MARK in text:
        return (Reaction("accepted"),)
    return Reaction("rejected"), Reaction("correction", WANTED)


def honest(job: Job) -> Job:
    return job


def wrong_sign(job: Job) -> Job:
    """What users took is taught to be wrong, and what they did not want to be right."""
    job = _with_settings(job, kl_target=FAR)
    other = {"accepted": "rejected", "rejected": "accepted"}

    def turn(one: Feedback) -> Feedback:
        return dataclasses.replace(one, signal=other[one.signal])

    return _with_feedback(job, turn)


def collapsed(job: Job) -> Job:
    """Steps so large that nothing of the language is left."""
    return _with_settings(job, learning_rate=0.1, kl_target=FAR)


def overfitted(job: Job) -> Job:
    """So many steps that what these users want is what most code becomes."""
    return _with_settings(job, nodes=64)


def _with_feedback(job: Job, change: Callable[[Feedback], Feedback]) -> Job:
    def changed(example: Example) -> Example:
        kept = [change(one) for one in example.feedback if one.signal != "correction"]
        return dataclasses.replace(example, feedback=tuple(kept))

    return msgspec.structs.replace(job, train=[changed(example) for example in job.train])


def _with_settings(job: Job, **changes: Any) -> Job:
    return msgspec.structs.replace(job, settings=msgspec.structs.replace(job.settings, **changes))


async def cycle_with(
    run: Running,
    after: int,
    change: Callable[[Job], Job],
    selection: Selection | None = None,
) -> dict[str, Any]:
    """Let the next cycle's update be the changed one, with a selection that nobody fitted if one is
    given, and the cycle end; its row."""
    cycle = await run.next_cycle(after)
    folder = run.home / "cycles" / str(cycle)
    async with asyncio.timeout(60):
        while not (held := run.pids("learner")):
            await asyncio.sleep(0.02)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    other = folder.with_name(f"{cycle}-changed")
    write_job(other, change(read_job(folder / "job.json")))
    await run_learner(other)
    if selection is not None:
        write_selection(other / WEIGHTS, selection)
    shutil.copytree(other / WEIGHTS, folder / WEIGHTS, dirs_exist_ok=True)
    shutil.copy(other / RESULT, folder / RESULT)
    for pid in held:
        os.kill(pid, signal.SIGKILL)
    await run.until(cycle, "canary", "ended", seconds=600)
    columns = "id, state, outcome, reason, verdict"
    [row] = rows(run, f"select {columns} from cycles where id = %s", cycle)
    return dict(zip(columns.split(", "), row, strict=True))


async def judge_all() -> None:
    async with running(gate=GATE, learn=LEARN, cycle=CYCLE) as run:
        run.users.react = choose
        cycle = 0
        for change, selection, why in (
            (honest, SILENT, "silence rose"),
            (wrong_sign, None, ""),
            (collapsed, None, "drift of"),
        ):
            found = await cycle_with(run, cycle, change, selection)
            print(change.__name__, found["outcome"], found["reason"])
            assert found["outcome"] == "rejected", (change.__name__, found)
            assert found["verdict"]["outcome"] == "FAIL", (change.__name__, found)
            assert why in found["reason"], (change.__name__, found)
            cycle = found["id"]
        assert len(set(run.users.answered.values())) == 1, "a user was answered by one of them"
        # The same gate, and users of the same taste.
        found = await cycle_with(run, cycle, honest)
        print("honest", found["verdict"]["reasons"])
        assert found["verdict"]["outcome"] == "PASS", found
        assert not run.users.failures


async def judge_overfitted() -> None:
    async with running(gate=GATE | {"suites": [str(ONE_LINE)]}, learn=LEARN, cycle=CYCLE) as run:
        run.users.react = choose
        found = await cycle_with(run, 0, overfitted)
        verdict = found["verdict"]
        evidence = verdict["evidence"]
        print("overfitted", verdict["reasons"], evidence["reward"], evidence["likelihood"])
        assert (found["outcome"], verdict["outcome"]) == ("rejected", "FAIL")
        # Suites are asked of what is better for the users.
        better = [evidence[name]["low"] > 0 for name in ("reward", "likelihood")]
        assert any(better)
        [suite] = evidence["suites"]
        assert suite["standing"] == "WORSE", suite
        assert len(set(run.users.answered.values())) == 1, "a user was answered by it"


@pytest.mark.timeout(900)
def test_a_candidate_that_users_reward_and_that_forgot_how_to_code_is_stopped() -> None:
    asyncio.run(judge_overfitted())


@pytest.mark.timeout(1800)
def test_worse_candidates_are_stopped_by_the_gate_that_passes_a_better_one() -> None:
    asyncio.run(judge_all())
