from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from liveweights.child import Ended, run_child


def run(code: str, *arguments: str, apart: bool = True) -> Ended:
    return asyncio.run(run_child([sys.executable, "-c", code, *arguments], apart=apart))


def test_how_it_ended_and_what_it_said() -> None:
    code = "import sys; print('out'); sys.stdout.flush(); print('first\\nlast', file=sys.stderr)"
    ended = run(f"{code}; sys.exit(3)")
    assert (ended.code, ended.output, ended.last_line) == (3, b"out\n", "last")
    both = run(code, apart=False)
    assert (both.code, both.messages) == (0, "out\nfirst\nlast\n")


def test_it_has_no_input_and_a_signal_is_told() -> None:
    assert run("import sys; print(repr(sys.stdin.read()))").output == b"''\n"
    assert run("import os; os.kill(os.getpid(), 9)").code == -9


def test_a_wait_that_is_cancelled_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"

    async def scenario() -> None:
        running = asyncio.create_task(run_child([sys.executable, "-c", code, str(file)]))
        async with asyncio.timeout(60):
            while not file.exists() or not file.read_text():
                await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
