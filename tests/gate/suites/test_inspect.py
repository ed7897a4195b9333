from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientConnectionError
from tests.gate.suites.doubles import ScriptedModel, always

from liveweights.gate.suites.catalogue import open_suite
from liveweights.gate.suites.inspect import InspectSuite, missing
from liveweights.gate.suites.model import Refused
from liveweights.gate.suites.run import Plan, attempt_case, run_suite
from liveweights.gate.suites.suite import SuiteError

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")

TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message

@task
def capitals():
    samples = [Sample(input=f"capital of {c}?", target=t) for c, t in
               [("France", "Paris"), ("Spain", "Madrid"), ("Italy", "Rome")]]
    return Task(dataset=samples, solver=[system_message("be brief"), generate()],
                scorer=includes(), version=2)

@task
def other():
    return Task(dataset=[Sample(input="x", target="y")], scorer=includes())
"""


def test_an_inspect_task_is_asked_and_scored_by_inspect(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(TASK)
    new = ScriptedModel("new", lambda prompt, seed: "Paris, Rome" if "of" in prompt else "")

    async def go() -> None:
        async with open_suite(f"inspect:{file}@capitals") as suite:
            assert (suite.card.name, suite.card.version) == ("inspect:capitals", "2")
            measured = await run_suite(suite, new, always("old", "Madrid"), Plan())
            assert measured.candidate == [1.0, 0.0, 1.0]
            assert measured.incumbent == [0.0, 1.0, 0.0]

    asyncio.run(go())
    assert new.asked[0][0] == "capital of France?"
    assert len({seed for _, seed in new.asked}) == 3


def test_waiting_for_another_case_is_no_time_of_an_attempt(tmp_path: Path) -> None:
    """Inspect asks one at a time, however many are to be asked together."""
    file = tmp_path / "tasks.py"
    file.write_text(TASK)

    async def go() -> None:
        async with open_suite(f"inspect:{file}@capitals") as suite:
            assert isinstance(suite, InspectSuite)
            brief = replace(suite, card=msgspec.structs.replace(suite.card, seconds=5.0))
            await brief.attempt(brief.cases()[0], always("m", "Paris"), 0)  # imports take a while

            async def wait_in_front() -> None:
                async with brief._turn:
                    await asyncio.sleep(6.0)

            front = asyncio.create_task(wait_in_front())
            await asyncio.sleep(0)
            found = await attempt_case(brief, brief.cases()[0], always("m", "Paris"), 0)
            await front
            assert (found.score, found.detail) == (1.0, "")

    asyncio.run(go())


def test_a_service_that_is_away_or_refuses_is_no_fault_of_the_suite(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(TASK)

    def failing(error: Exception) -> ScriptedModel:
        def answer(prompt: str, seed: int) -> str:
            raise error

        return ScriptedModel("m", answer)

    async def go() -> None:
        async with open_suite(f"inspect:{file}@capitals") as suite:
            case = suite.cases()[0]
            with pytest.raises(ClientConnectionError):
                await attempt_case(suite, case, failing(ClientConnectionError("away")), 0)
            found = await attempt_case(suite, case, failing(Refused("400: too long")), 0)
            assert (found.score, found.detail) == (0.0, "refused: 400: too long")

    asyncio.run(go())


def test_what_names_no_one_task_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(TASK)

    async def go(name: str) -> None:
        async with open_suite(name):
            pass

    for name, words in [
        (f"inspect:{file}", "names 2 tasks"),
        (f"inspect:{tmp_path}/none.py", "there is no file"),
    ]:
        with pytest.raises(SuiteError, match=words):
            asyncio.run(go(name))
