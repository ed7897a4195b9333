from __future__ import annotations

import asyncio

import pytest
from tests.gate.suites.doubles import ScriptedModel, always

from liveweights.gate.sandbox import Sandbox, SandboxUnavailable
from liveweights.gate.sandbox.session import open_session
from liveweights.gate.suites.harbor import Task, read_tasks
from liveweights.gate.suites.model import Refused
from liveweights.gate.suites.suite import Attempt, Case, SuiteError
from liveweights.gate.suites.terminal import (
    LARGEST,
    TASKS,
    TerminalSuite,
    limits_of,
    open_terminal,
    verify,
)


def attempt(sandbox: Sandbox, task: str, model: ScriptedModel) -> Attempt:
    suite = open_terminal(sandbox)
    return asyncio.run(suite.attempt(Case(id=task, prompt=""), model, 0))


def steps(*answers: str) -> ScriptedModel:
    left = list(answers)
    return ScriptedModel("agent", lambda prompt, seed: left.pop(0))


def in_folder(
    sandbox: Sandbox, workdir: str, tests: dict[str, bytes] | None = None, disk: int = 2**26
) -> TerminalSuite:
    """One task, which is done where there is a file ``done`` in ``workdir``."""
    test = b"test -e done && echo 1 >/logs/verifier/reward.txt"
    task = Task(
        name="touch",
        instruction="Make a file that is called done.",
        workdir=workdir,
        files={},
        tests=tests or {"/tests/test.sh": test},
        solution={},
        agent_seconds=60,
        verifier_seconds=60,
        memory=2**28,
        disk=disk,
    )
    return TerminalSuite(sandbox, {"touch": task})


async def check_solution(sandbox: Sandbox, task: Task) -> float:
    """Reward of the task's own solution, which must be 1 for the task to mean anything."""
    limits = limits_of(task, task.agent_seconds)
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


@pytest.mark.parametrize("workdir", ["/usr/src/app", "/usr/local/app", "/tmp/work", "/tmp"])
def test_a_right_answer_is_right_in_every_working_folder(sandbox: Sandbox, workdir: str) -> None:
    suite = in_folder(sandbox, workdir)
    agent = steps("```bash\ntouch done\n```", "DONE")
    found = asyncio.run(suite.attempt(suite.cases()[0], agent, 0))
    assert (found.score, found.detail) == (1.0, "done")


def test_what_the_machine_cannot_do_is_no_wrong_answer(sandbox: Sandbox) -> None:
    """One that nobody can answer would be judged as one on which both are alike."""
    suite = in_folder(sandbox, "/proc/x")
    with pytest.raises(SandboxUnavailable, match="could not be made"):
        asyncio.run(suite.attempt(suite.cases()[0], always("idle", "DONE"), 0))
    tests = {"/tests/test.sh": b"true", "/tests/large": bytes(20_000_000)}
    suite = in_folder(sandbox, "/app", tests, disk=2**20)
    with pytest.raises(SuiteError, match="its tests cannot be put there"):
        asyncio.run(suite.attempt(suite.cases()[0], always("idle", "DONE"), 0))


def test_what_an_agent_leaves_running_or_closed_is_no_fault(sandbox: Sandbox) -> None:
    leave = """```bash
touch done closed; chmod 000 closed; python3 -c 'import socket; socket.socket(1).bind("s")'
(while true; do echo line >> log; sleep 0.01; done) >/dev/null 2>&1 &
```"""
    suite = in_folder(sandbox, "/app")
    found = asyncio.run(suite.attempt(suite.cases()[0], steps(leave, "DONE"), 0))
    assert (found.score, found.detail) == (1.0, "done")


def test_a_small_disk_does_not_take_what_the_tests_may_look_at(sandbox: Sandbox) -> None:
    suite = in_folder(sandbox, "/app", disk=7 * 1024 * 1024)
    work = steps("```bash\nhead -c 7000000 /dev/urandom > large; touch done\n```", "DONE")
    found = asyncio.run(suite.attempt(suite.cases()[0], work, 0))
    assert (found.score, found.detail) == (1.0, "done")


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
