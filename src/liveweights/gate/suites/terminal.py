"""An agent works on a terminal task: model and shell take turns, then the task's tests decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from liveweights.gate.sandbox import Limits, Sandbox
from liveweights.gate.sandbox.session import Session, SessionLost, Terminal, archive, open_session
from liveweights.gate.suites.harbor import Task, read_tasks
from liveweights.gate.suites.model import Refused
from liveweights.gate.suites.suite import Attempt, Card, Case, Message, Model, SuiteError

CARD = Card(
    name="terminal",
    version="1",
    title="Small tasks in a shell, in Harbor's format",
    licence="CC0-1.0",
    source="written for liveweights",
    harness="terminal",
    seconds=300,
    margin=0.1,
    max_tokens=160,
)
TASKS = Path(__file__).with_name("terminal_tasks")
TURNS = 6
COMMAND_SECONDS = 20.0
SHOWN = 1200
"""Characters of a command's output that the model sees."""
LARGEST = 8 * 1024 * 1024
"""Bytes of the working folder that the tests may look at."""
PROCESSES = 64
NO_ROOM = 99
"""Exit status where the tests could not be unpacked."""
SYSTEM = (
    "You work in a Linux shell. Answer with one bash code block; it is run and you are shown its"
    " output. When the task is done, answer DONE."
)
BLOCK = re.compile(r"```(?:bash|sh|shell)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
# Standard output is the reward alone: what the tests print goes elsewhere.
VERIFY = f"""
tar -x -C / --no-same-owner -f - || exit {NO_ROOM}
tar -x -C "$1" --no-same-owner -f /tmp/made.tar || exit 1
bash /tests/test.sh >/logs/verifier/output.txt 2>&1 </dev/null
cat /logs/verifier/reward.txt
"""


@dataclass(frozen=True, slots=True)
class TerminalSuite:
    sandbox: Sandbox
    tasks: dict[str, Task]
    card: Card = CARD

    def cases(self) -> Sequence[Case]:
        return [Case(id=name, prompt=task.instruction) for name, task in self.tasks.items()]

    def content(self) -> bytes:
        return repr(sorted(self.tasks.items())).encode()

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        task = self.tasks[case.id]
        limits = limits_of(task, task.agent_seconds)
        messages: list[Message] = []
        try:
            async with open_session(
                self.sandbox, task.files, (task.workdir, "/tmp"), limits
            ) as session:
                why = await converse(
                    session, task, model, card=self.card, seed=seed, messages=messages
                )
                made = await session.export(task.workdir, LARGEST)
        except SessionLost as error:
            return Attempt(score=0.0, answer=_transcript(messages), detail=str(error))
        reward, detail = await verify(self.sandbox, task, made)
        return Attempt(score=reward, answer=_transcript(messages), detail=detail or why)

    async def close(self) -> None:
        pass


async def converse(
    session: Session, task: Task, model: Model, *, card: Card, seed: int, messages: list[Message]
) -> str:
    """Let the model work until it says that it is done; how it ended. ``messages`` grow with
    it."""
    messages += [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": task.instruction},
    ]
    for _ in range(TURNS):
        try:
            text = await model.chat(
                messages, max_tokens=card.max_tokens, temperature=card.temperature, seed=seed
            )
        except Refused as error:
            if not error.unfit or len(messages) == 2:
                raise
            # The conversation has outgrown the context: what was done until now counts.
            return str(error)[:200]
        messages.append({"role": "assistant", "content": text})
        block = BLOCK.search(text)
        if block is None:
            return "done" if "DONE" in text else "no command"
        terminal = await session.execute(block.group(1), COMMAND_SECONDS)
        messages.append({"role": "user", "content": _shown(terminal)})
    return "out of turns"


async def verify(sandbox: Sandbox, task: Task, made: bytes) -> tuple[float, str]:
    """Reward of a working folder, judged in a sandbox that the agent never was in. Raises
    SuiteError where the tests do not fit in it."""
    outcome = await sandbox.run(
        ["bash", "-c", VERIFY, "bash", task.workdir],
        stdin=archive(task.tests | {"/tmp/made.tar": made}),
        limits=limits_of(task, task.verifier_seconds),
        writable=(task.workdir, "/tests", "/logs/verifier", "/tmp"),
    )
    if outcome.code == NO_ROOM:
        raise SuiteError(f"{task.name}: its tests cannot be put there: {outcome.fault('')}")
    try:
        return min(1.0, max(0.0, float(outcome.stdout))), ""
    except ValueError:
        return 0.0, f"the tests wrote no reward ({outcome.ended})"


def limits_of(task: Task, seconds: float) -> Limits:
    """Of a task's sandboxes; their disk holds at least what the tests may look at."""
    return Limits(
        seconds=seconds,
        memory=task.memory,
        processes=PROCESSES,
        disk=max(task.disk, 2 * LARGEST),
    )


def open_terminal(sandbox: Sandbox, folder: Path = TASKS, card: Card = CARD) -> TerminalSuite:
    """Raises SuiteError."""
    return TerminalSuite(sandbox, {task.name: task for task in read_tasks(folder)}, card)


def _shown(terminal: Terminal) -> str:
    text = terminal.output
    if len(text) > SHOWN:
        text = f"{text[: SHOWN // 2]}\n...\n{text[-SHOWN // 2 :]}"
    return f"exit status {terminal.code}\n{text}".strip()


def _transcript(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
