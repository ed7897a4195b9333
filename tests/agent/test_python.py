"""The sandbox as a tool: what programs of a model give, and that they get at nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.agent.calls import Outcome, make_call
from liveweights.agent.python import Python, share_of
from liveweights.agent.settings import AgentSettings
from liveweights.agent.shed import Shed
from liveweights.agent.tool import ToolError, Toolset
from liveweights.gate import sandbox
from liveweights.gate.sandbox import Limits, SandboxUnavailable, open_sandbox
from liveweights.http.slots import Slots

from .conformance import ToolsetConformance

LIMITS = Limits(seconds=20.0, output=20_000)


@asynccontextmanager
async def opened(limits: Limits = LIMITS) -> AsyncGenerator[Toolset]:
    try:
        found = await open_sandbox()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    yield Python(found, limits, Slots(4, 0), "acme")


def run(code: str, limits: Limits = LIMITS) -> str:
    async def work() -> str:
        async with opened(limits) as toolset:
            return await toolset.call("python", {"code": code})

    return asyncio.run(work())


class TestPython(ToolsetConformance):
    good = ("python", {"code": "print(6 * 7)"})
    says = "42"

    def open(self) -> AbstractAsyncContextManager[Toolset]:
        return opened()


def test_a_program_that_fails_says_so() -> None:
    said = run("print('before')\nraise ValueError('no good')")
    assert said.startswith("before")
    assert "no good" in said
    assert said.endswith("[exit status 1]")
    assert run("pass") == "[nothing was printed]"


def test_nothing_outside_is_there(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    said = run(
        "import os, socket\n"
        f"print(os.path.exists({str(tmp_path / 'secret')!r}), os.environ.get('HOME'))\n"
        "try:\n    socket.create_connection(('127.0.0.1', 80), 2); print('connected')\n"
        "except OSError as error: print('no network')\n"
        "try:\n    open('/etc/passwd').read(); print('read')\n"
        "except OSError: print('no file')\n"
        "print(len([p for p in os.listdir('/proc') if p.isdecimal()]) < 10)\n"
    )
    assert said.splitlines() == ["False /tmp", "no network", "no file", "True"]


def test_nothing_is_kept_for_the_next_call() -> None:
    run("open('/tmp/left', 'w').write('x')")
    assert run("import os; print(os.listdir('/tmp'))") == "[]"


@pytest.mark.parametrize(
    ("code", "limits", "told"),
    [
        ("while True: pass", Limits(seconds=1.0), "out of time"),
        ("while True: print('x' * 1000)", Limits(output=5000), "printed too much"),
        ("x = b'x' * 10**10", Limits(seconds=20.0), "memory"),
    ],
)
def test_a_program_without_an_end_is_ended(code: str, limits: Limits, told: str) -> None:
    try:
        said = run(code, limits)
    except ToolError as error:
        said = str(error)
    assert told in said.lower().replace("memoryerror", "memory")


def test_what_was_printed_before_the_time_was_over_is_told(tmp_path: Path) -> None:
    settings = AgentSettings(python=True, call_seconds=10.0)
    shed = Shed(settings, None, tmp_path)  # type: ignore[arg-type]
    arguments = '{"code": "import time; print(6 * 7); time.sleep(900)"}'

    async def work() -> Outcome:
        async with opened(), shed.open("python", "acme") as toolset:
            assert isinstance(toolset, Python)
            assert toolset._limits.seconds == share_of(settings.call_seconds)
            # More time than the call has: a busy machine takes long to end a program, too.
            return await make_call(toolset, "python", arguments, seconds=120.0, characters=1000)

    told = asyncio.run(work())
    assert told.failed
    assert told.output == "error: it ran out of time. Until then it printed:\n42"


@given(st.floats(min_value=1e-3, max_value=1e9))
def test_a_program_has_less_time_than_its_call(seconds: float) -> None:
    assert 0 < share_of(seconds) < seconds
    assert seconds - share_of(seconds) <= 2.0 + 1e-6


def test_so_many_programs_run_at_a_time_whoever_asks(tmp_path: Path) -> None:
    settings = AgentSettings(python=True, programs=2)
    shed = Shed(settings, None, tmp_path)  # type: ignore[arg-type]
    running: list[int] = []

    class Counting:
        python = "python"
        now = 0

        async def run(self, command: object, **how: object) -> sandbox.Outcome:
            self.now += 1
            running.append(self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return sandbox.Outcome(ended="exit", code=0, stdout=b"", stderr=b"", seconds=0.0)

    shed._sandbox = Counting()  # type: ignore[assignment]

    async def one(number: int) -> None:
        async with shed.open("python", f"tenant{number % 3}") as toolset:
            await toolset.call("python", {"code": "pass"})

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(9)))

    asyncio.run(work())
    assert len(running) == 9
    assert max(running) == 2


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ToolError, match="half a character"):
        run("print('\ud800')")
