from __future__ import annotations

import asyncio

import pytest
from tests.gate.suites.doubles import ScriptedModel, always

from liveweights.gate.sandbox import Limits, Sandbox
from liveweights.gate.sandbox.session import open_session
from liveweights.gate.suites.harbor import Task, read_tasks
from liveweights.gate.suites.model import Refused
from liveweights.gate.suites.suite import Attempt, Case
from liveweights.gate.suites.terminal import LARGEST, PROCESSES, TASKS, open_terminal, verify


def attempt(sandbox: Sandbox, task: str, model: ScriptedModel) -> Attempt:
    suite = open_terminal(sandbox)
    return asyncio.run(suite.attempt(Case(id=task, prompt=""), model, 0))


def steps(*answers: str) -> ScriptedModel:
    left = list(answers)
    return ScriptedModel("agent", lambda prompt, seed: left.pop(0))


async def check_solution(sandbox: Sandbox, task: Task) -> float:
    """Reward of the task's own solution, which must be 1 for the task to mean anything."""
    limits = Limits(
        seconds=task.agent_seconds, memory=task.memory, processes=PROCESSES, disk=task.disk
    )
    async with open_session(
        sandbox, task.files | task.solution, (task.workdir, "/tmp", "/solution"), limits
    ) as session:
        await session.execute("bash /solution/solve.sh", task.agent_seconds)
        made = await session.export(task.workdir, LARGEST)
    reward, _ = await verify(sandbox, task, made)
    return reward


def test_every_task_is_solved_by_its_own_solution(sandbox: Sandbox) -> None:
    async def go() -> dict[str, float]:
        return {task.name: await check_solution(sandbox, task) for task in read_tasks(TASKS)}

    assert set(asyncio.run(go()).values()) == {1.0}


def test_no_task_is_solved_by_doing_nothing(sandbox: Sandbox) -> None:
    for task in read_tasks(TASKS):
        found = attempt(sandbox, task.name, always("idle", "DONE"))
        assert (found.score, found.detail) == (0.0, "done"), task.name


def test_an_agent_works_in_turns_and_sees_what_its_commands_print(sandbox: Sandbox) -> None:
    seen: list[str] = []

    def agent(prompt: str, seed: int) -> str:
        seen.append(prompt)
        if len(seen) == 1:
            return "Let me look.\n```bash\nls; cat names.txt | wc -l\n```"
        if len(seen) == 2:
            return "```bash\necho 7 > count.txt\n```"
        return "DONE"

    found = attempt(sandbox, "count-lines", ScriptedModel("agent", agent))
    assert (found.score, found.detail) == (1.0, "done")
    assert seen[1] == "exit status 0\nnames.txt\n7"
    assert "echo 7 > count.txt" in found.answer


@pytest.mark.parametrize(
    ("model", "detail"),
    [
        (always("talker", "I would create a file."), "no command"),
        (always("looper", "```bash\ntrue\n```"), "out of turns"),
        (steps("```bash\nkill -9 -1\n```"), "sandbox ended"),
        (steps("```bash\nhead -c 20000000 /dev/zero > big\n```", "DONE"), "more than"),
    ],
)
def test_what_fails_scores_nothing_and_says_why(
    sandbox: Sandbox, model: ScriptedModel, detail: str
) -> None:
    found = attempt(sandbox, "hello-file", model)
    assert found.score == 0
    assert detail in found.detail


def test_a_conversation_that_outgrows_the_context_is_judged_by_what_was_done(
    sandbox: Sandbox,
) -> None:
    answers = ["```bash\necho hello > hello.txt\n```"]

    def agent(prompt: str, seed: int) -> str:
        if not answers:
            raise Refused("400: the prompt is too long")
        return answers.pop()

    found = attempt(sandbox, "hello-file", ScriptedModel("agent", agent))
    assert (found.score, found.detail) == (1.0, "400: the prompt is too long")


def test_an_agent_cannot_write_its_own_reward(sandbox: Sandbox) -> None:
    forge = """```bash
mkdir -p logs/verifier tests; echo 1 > logs/verifier/reward.txt; echo 1 > /logs/verifier/reward.txt
echo 'echo 1 > /logs/verifier/reward.txt' > tests/test.sh
(while true; do echo 1 > /logs/verifier/reward.txt; sleep 0.1; done) >/dev/null 2>&1 &
```"""
    assert attempt(sandbox, "hello-file", steps(forge, "DONE")).score == 0
