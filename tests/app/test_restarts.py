"""A part that does not stay alive is given up after a stated number of quick deaths."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.app.place import Place
from liveweights.app.report import Listener, Report
from liveweights.app.restarts import AWAY, LONGEST, MOST, PERMANENT, QUICK, SLOW, Restarts
from liveweights.app.supervisor import Supervisor
from liveweights.child import describe
from liveweights.config import Config
from liveweights.serve.api.settings import ApiSettings

CODES = st.sampled_from([0, 1, AWAY, -9, -11])
DEATHS = st.lists(
    st.tuples(CODES, st.floats(0, 2 * SLOW), st.none() | st.floats(0, 2 * QUICK)), max_size=40
)


def test_quick_deaths_in_a_row_end_it_and_pauses_grow() -> None:
    restarts = Restarts()
    pauses = [restarts.after(1, 2.0, None) for _ in range(MOST)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, None]


def test_a_long_life_begins_the_count_anew() -> None:
    restarts = Restarts()
    for _ in range(10):
        for _ in range(MOST - 1):
            assert restarts.after(-9, 3.0, 1.0) is not None
        assert restarts.after(-9, 100.0, QUICK) == 0.2


def test_what_is_the_same_at_every_start_is_not_tried_again() -> None:
    assert Restarts().after(PERMANENT, 1e6, 1e6) is None


def test_what_waits_for_the_database_waits_for_ever() -> None:
    restarts = Restarts()
    assert [restarts.after(AWAY, 30.0, None) for _ in range(20)][-1] == LONGEST


def test_a_start_that_takes_long_and_fails_is_a_quick_death_too() -> None:
    restarts = Restarts()
    assert [restarts.after(1, 300.0, None) for _ in range(MOST)][-1] is None


@given(DEATHS)
def test_it_ends_exactly_with_so_many_quick_deaths_in_a_row(
    deaths: list[tuple[int, float, float | None]],
) -> None:
    restarts, quick = Restarts(), 0
    for code, lived, ready in deaths:
        if code != AWAY:
            is_quick = lived < SLOW if ready is None else ready < QUICK
            quick = quick + 1 if is_quick else 0
        pause = restarts.after(code, lived, ready)
        assert (pause is None) == (quick >= MOST and code != AWAY)
        if pause is None:
            return
        assert 0.2 <= pause <= LONGEST


def test_codes_in_words() -> None:
    assert describe(1) == "exit code 1"
    assert describe(-signal.SIGSEGV) == "SIGSEGV"
    assert "memory" in describe(-signal.SIGKILL)
    assert describe(-1000) == "signal 1000"


def test_a_part_says_that_it_is_ready_and_why_it_ends() -> None:
    script = (
        "import sys; from liveweights.app.report import Report; r = Report(int(sys.argv[1]));"
        "r.ready(); r.reason('no\\n room'); r.reason('x' * 9000)"
    )

    async def scenario() -> tuple[float | None, str]:
        with Listener() as listener:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, str(listener.given), pass_fds=(listener.given,)
            )
            listener.started()
            await process.wait()
            await asyncio.sleep(0)
            return listener.ready_at, listener.reason

    ready_at, reason = asyncio.run(scenario())
    assert ready_at is not None
    assert set(reason) == {"x"}


def test_a_part_that_says_nothing_has_no_reason() -> None:
    async def scenario() -> tuple[float | None, str]:
        with Listener() as listener:
            process = await asyncio.create_subprocess_exec("true", pass_fds=(listener.given,))
            listener.started()
            await process.wait()
            return listener.ready_at, listener.reason

    assert asyncio.run(scenario()) == (None, "")


def test_telling_a_supervisor_that_is_gone_does_not_raise() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    report = Report(writing)
    report.ready()
    report.reason("nobody hears it")
    os.close(writing)


@pytest.mark.fault
def test_the_supervisor_gives_up_and_says_the_reason(tmp_path: Path) -> None:
    supervisor = Supervisor(Config(), tmp_path)
    place = Place(Config(), tmp_path, "host=127.0.0.1")

    async def mind() -> None:
        async with asyncio.timeout(250):
            await supervisor._mind("nonesuch", place)

    asyncio.run(mind())
    assert supervisor._gave_up is not None
    assert not supervisor._gave_up.permanent
    why = str(supervisor._gave_up)
    assert why.startswith(f"nonesuch ended {MOST} times in a row")
    assert why.endswith("the last time with exit code 1: KeyError: 'nonesuch'")


def test_what_no_start_can_mend_ends_with_its_code_and_no_traceback(tmp_path: Path) -> None:
    config = Config(model=str(tmp_path / "gone"), api=ApiSettings(port=0))
    place = Place(config, tmp_path, "host=127.0.0.1 port=1")
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "liveweights.app", "api", str(write)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(write,),
    ) as process:  # fmt: skip
        os.close(write)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(place.encode() + "\n")
        process.stdin.flush()  # and left open: its end would be the supervisor's
        logged = process.stderr.read()
    with os.fdopen(read) as words:
        said = words.read()
    assert process.returncode == PERMANENT
    assert "Traceback" not in logged
    assert "there is no such folder" in said
