from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.replay.test_proof import measurement

from liveweights.config import DATABASE_URL, load_config
from liveweights.replay import service
from liveweights.replay.client import CycleStatus, RequestFailed, Status
from liveweights.replay.corpus import Corpus, Split
from liveweights.replay.course import Result, tell_proof
from liveweights.replay.demo import Interrupts, _start, why_failed
from liveweights.replay.developer import Outcome
from liveweights.replay.plan import make_plan
from liveweights.replay.proof import Proof, prove
from liveweights.replay.report import scorecard_of
from liveweights.replay.settings import DemoOptions, Rewards
from liveweights.replay.speed import Speed
from liveweights.replay.traffic import Tally

LOG = Path("service.log")
BASE = measurement("m@1", ["rejected"] * 40)


def proof(outcomes: list[Outcome]) -> Proof:
    return prove(BASE, measurement("m@2", outcomes), Rewards(), 1)


BETTER = proof(["silence", "silence", "rejected", "accepted"] * 10)
EQUAL = proof(["rejected"] * 40)


def result(*proofs: Proof, status: Status | None = None, released: int = 1) -> Result:
    return Result(
        corpus=Corpus((), ()),
        split=Split((), (), (), 0),
        base=BASE,
        proofs=list(proofs),
        packages=None,
        status=status or Status(),
        released=released,
        traffic_seconds=1.0,
    )


def test_a_proof_is_a_success_however_few_the_releases() -> None:
    assert why_failed(result(BETTER), DemoOptions(), Tally(), LOG) == ""
    assert why_failed(result(EQUAL, BETTER), DemoOptions(), Tally(), LOG) == ""


def test_each_failure_is_a_sentence_that_says_what_to_do() -> None:
    failed = Tally()
    failed.completions = 5
    failed.fail(RequestFailed("POST /v1/completions: 503"))
    said = why_failed(result(BETTER), DemoOptions(), failed, LOG)
    assert "1 of 5 requests failed" in said
    assert "503" in said
    assert "service.log" in said

    cycles = [CycleStatus(id=1, outcome="rejected", reason="INCONCLUSIVE: too few cases")]
    said = why_failed(result(status=Status(cycles=cycles)), DemoOptions(), Tally(), LOG)
    assert "Nothing was released" in said
    assert "too few cases" in said
    assert "--most-minutes" in said

    said = why_failed(result(BETTER, EQUAL), DemoOptions(), Tally(), LOG)
    assert "not shown to be better" in said
    assert "--long" in said

    said = why_failed(result(BETTER), DemoOptions(releases=3), Tally(), LOG)
    assert "1 releases came where 3 were demanded" in said


def test_no_rate_is_told_without_the_number_of_suggestions() -> None:
    said = tell_proof(BETTER)
    assert said.startswith("PROOF")
    assert "10 of 20 suggestions accepted (50.0%)" in said
    assert "base 0 of 40 suggestions accepted (0.0%)" in said


def test_the_scorecard_says_how_often_was_looked() -> None:
    card = scorecard_of(result(EQUAL, BETTER), Tally(), 10.0)
    assert (card["looks"], card["shown_to_be_better"]) == (2, True)
    assert scorecard_of(result(), Tally(), 10.0)["shown_to_be_better"] is False


def test_a_demo_never_works_on_the_database_of_a_real_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, "postgresql://production.example/all")
    monkeypatch.setattr(service, "_command", lambda: ["true"])
    plan = make_plan(Speed(threads=2, flops=1e11, single=1e11))
    started = _start(tmp_path, DemoOptions(), plan, "key")
    started.stop()
    config = load_config(tmp_path / "liveweights.toml")
    assert config.database_url() is None
    assert config.gate.min_changed == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_what_runs(number: signal.Signals) -> None:
    async def run(interrupts: Interrupts) -> None:
        interrupts.task = asyncio.current_task()
        os.kill(os.getpid(), number)
        await asyncio.sleep(30)

    before = signal.signal(number, signal.SIG_DFL)  # in the background SIGINT is ignored
    try:
        with Interrupts() as interrupts, pytest.raises(asyncio.CancelledError):
            asyncio.run(run(interrupts))
    finally:
        signal.signal(number, before)


def test_a_signal_between_two_tasks_is_a_keyboard_interrupt() -> None:
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_whole_is_finished_first() -> None:
    done: list[str] = []

    def write(interrupts: Interrupts) -> None:
        with interrupts.whole():
            os.kill(os.getpid(), signal.SIGHUP)
            done.append("written")

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
    try:
        with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
            write(interrupts)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert done == ["written"]


def test_what_was_ignored_before_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        interrupts.ignore()
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
