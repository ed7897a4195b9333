from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.processes import is_alive

from liveweights.gate.suites.mathematics import missing, open_mathematics

COMPARE = """
import asyncio, contextlib, time
import psutil
from liveweights.gate.suites.mathematics import Verifier
from liveweights.gate.suites.suite import Case

async def go():
    verifier = Verifier()
    with contextlib.suppress(ImportError):  # the process that compares is there all the same
        await verifier.score("1", Case(id="a", target="1"))
    print(*(one.pid for one in psutil.Process().children()), flush=True)
    await asyncio.sleep(600)

asyncio.run(go())
"""


def test_the_process_that_compares_ends_with_who_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", COMPARE], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        started = [int(pid) for pid in parent.stdout.readline().split()]
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert started
    deadline = time.monotonic() + 60
    while (left := [pid for pid in started if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")
def test_cases_are_the_same_each_time_and_answers_are_compared_as_mathematics() -> None:
    async def go() -> None:
        suite, again = open_mathematics(), open_mathematics()
        try:
            assert suite.cases() == again.cases()
            case = suite.cases()[0]
            for said, expected in [
                (f"The answer is {case.target}.", 1.0),
                (f"${case.target}.0$", 1.0),
                (f"{case.target}1", 0.0),
                ("", 0.0),
                ("9" * 50 + "^{" + "9" * 50 + "}!" * 20, 0.0),
            ]:
                assert (await suite.score(said, case))[0] == expected, said
        finally:
            await suite.close()
            await again.close()

    asyncio.run(go())
