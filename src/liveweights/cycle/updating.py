"""The update as a process of its own: its job, its starts, its result."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec

from liveweights.child import run_child
from liveweights.learn.job import RESULT, Job, Result
from liveweights.machine import yielding_environment

log = logging.getLogger(__name__)

LEARNER_STARTS = 3
"""How often an update that was killed (by the kernel, for memory; by a person) is started."""


class LearnerFailed(RuntimeError):
    """The update's process ended without a result; the message holds the end of its output."""


JOB = "job.json"


def write_job(folder: Path, job: Job) -> None:
    """For the update's process, and for no longer than that runs: it holds what users wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOB).write_bytes(msgspec.json.encode(job))


def remove_job(folder: Path) -> None:
    (folder / JOB).unlink(missing_ok=True)


def is_done(folder: Path) -> bool:
    """Whether the update has ended: its result is written last."""
    return (folder / RESULT).exists()


def read_result(folder: Path) -> Result:
    return msgspec.json.decode((folder / RESULT).read_bytes(), type=Result)


async def run_learner(folder: Path) -> None:
    """Start the update, and again if a signal ended it. Raises LearnerFailed."""
    for attempt in range(1, LEARNER_STARTS + 1):
        code, output = await start_learner(folder)
        if code == 0 or (code < 0 and is_done(folder)):
            return
        tail = "\n".join(output.splitlines()[-12:])
        if code > 0 or attempt == LEARNER_STARTS:
            tries = f" at start {attempt} of {LEARNER_STARTS}" if code < 0 else ""
            raise LearnerFailed(f"the update ended with code {code}{tries}:\n{tail}")
        log.warning("the update was killed by signal %d; starting it again: %s", -code, tail)


async def start_learner(folder: Path) -> tuple[int, str]:
    """Exit code and output of one run. A cancelled wait ends the process."""
    command = [sys.executable, "-m", "liveweights.learn.process", str(folder / JOB), str(folder)]
    ended = await run_child(command, env=yielding_environment(), apart=False)
    return ended.code, ended.messages
