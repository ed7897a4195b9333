from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.gate.suites.doubles import ScriptedModel, always

from liveweights.gate.suites.catalogue import open_suite
from liveweights.gate.suites.inspect import missing
from liveweights.gate.suites.run import Plan, run_suite
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
