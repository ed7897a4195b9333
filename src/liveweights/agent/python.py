"""Python in the sandbox, as a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liveweights.agent.tool import Listed, ToolError, describe, read_text
from liveweights.gate.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable
from liveweights.http.slots import Slots

TOOLS = (
    describe(
        "python",
        "Run a Python program and get what it prints. There is no network, and nothing is kept"
        " for the next call.",
        code="The program.",
    ),
)
ENDS = {
    "time": "it ran out of time",
    "memory": "it ran out of memory",
    "processes": "it started too many processes",
    "output": "it printed too much",
}
REST, MOST_REST = 0.25, 2.0
"""The share of a call, and its seconds at most, that are kept to end a program and to tell what it
printed."""


def share_of(seconds: float) -> float:
    """Seconds that a program may run within a call of ``seconds``."""
    return seconds - min(MOST_REST, REST * seconds)


class Python:
    """Each call is a sandbox of its own, in its turn."""

    def __init__(self, sandbox: Sandbox, limits: Limits, turns: Slots, tenant: str) -> None:
        self._sandbox = sandbox
        self._limits = limits
        self._turns = turns
        self._tenant = tenant

    async def list(self) -> Listed:
        return Listed(TOOLS)

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        if name != "python":
            raise ToolError("the tool is python(code)")
        try:
            code = read_text(arguments, "code").encode()
        except UnicodeEncodeError:
            raise ToolError("'code' has half a character in it") from None
        # From standard input: a program may be longer than an argument. Unbuffered: one that is
        # ended has printed what it says that it printed.
        command = [self._sandbox.python, "-I", "-u", "-"]
        try:
            async with self._turns.hold(1, tenant=self._tenant, patient=True):
                outcome = await self._sandbox.run(command, stdin=code, limits=self._limits)
        except SandboxUnavailable as error:
            raise ToolError(str(error)) from error
        return show(outcome)


def show(outcome: Outcome) -> str:
    """What a program printed, and how it ended where that was not well. Raises ToolError where it
    reached a limit."""
    printed = (outcome.stdout + outcome.stderr).decode(errors="replace").strip()
    if outcome.ended != "exit":
        raise ToolError(f"{ENDS[outcome.ended]}. Until then it printed:\n{printed}")
    if outcome.code:
        return f"{printed}\n[exit status {outcome.code}]".lstrip()
    return printed or "[nothing was printed]"
