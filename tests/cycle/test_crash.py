"""Processes are killed at every step of a cycle, and what must hold is looked up afterwards."""

from __future__ import annotations

import os
import random
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg
import pytest

from liveweights.config import Config
from liveweights.weights.registry import Registry, verify

from .crash import STARTING, Plan, end, fork, run_api, run_users, run_worker, until
from .product import BASE, write_base

pytestmark = [pytest.mark.fault, pytest.mark.forks, pytest.mark.alone]

MOST_STARTING = 16
"""Steps of a look that finds nothing to do; further ones are the same again."""

CONFIG = msgspec.convert(
    {
        "cycle": {"min_feedback": 24, "rest": 0.0, "poll": 0.02, "lease": 1.5},
        "learn": {"held_back_share": 0.4},
        "gate": {
            "cases": 6,
            "primary": "either",
            "min_cases": 2,
            "min_sessions": 2,
            "min_changed": 0,
            "min_answers": 1,
        },
        "canary": {
            "steps": [0.3, 0.6],
            "step_rewards": 1,
            "step_seconds": 0.0,
            "unit": "reward",
            "min_rewards": 1,
            "max_rewards": 6,
            "margin": 0.9,
            "max_seconds": 30.0,
            "longest_seconds": 30.0,
        },
    },
    Config,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Service:
    """A service of forked processes on one database."""

    dsn: str
    home: Path
    port: int = field(default_factory=free_port)
    kills: Counter[str] = field(default_factory=Counter)
    api: int = 0
    users: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def told(self) -> Path:
        return self.home / "told"

    @property
    def failed(self) -> Path:
        return self.home / "failed"

    def ask(self, query: str, *values: object) -> list[tuple]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return conn.execute(query, values).fetchall()  # type: ignore[arg-type]

    def start_api(self, plan: Plan | None = None, report: int = -1) -> None:
        plan = plan or Plan({"api": None})
        self.api = fork(lambda: run_api(self.dsn, self.port, self.home / "cache", plan, report))

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as response:
                return response.status == 200
        except OSError:
            return False

    def live(self, work, limit: float = 60.0) -> str | None:
        """One life of a process: the step at which it died, None if it outlived ``limit``."""
        reading, writing = os.pipe()
        child = fork(lambda: work(writing))
        os.close(writing)
        began = time.monotonic()
        try:
            while time.monotonic() - began < limit:
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    said = os.read(reading, 4096).decode().strip()
                    assert os.WIFSIGNALED(status), "it ended by itself"
                    self.kills[said] += 1
                    return said
                time.sleep(0.005)
            end(child)
            return None
        finally:
            os.close(reading)

    def state(self) -> str:
        rows = self.ask("select state from cycles where ended_at is null")
        return rows[0][0] if rows else STARTING

    def sweep(self, kills: int, stride: int = 1) -> None:
        """Kill the worker at every ``stride``-th step of each state, one life after the other."""
        at: dict[str, int] = {}
        after: dict[str, bool] = {}
        for _ in range(kills):
            plan = Plan(dict(at), dict(after))
            if at.get(STARTING, 1) > MOST_STARTING:
                plan.at[STARTING] = None
            said = self.live(
                lambda report: run_worker(self.dsn, CONFIG, self.home, self.url, plan, report)  # noqa: B023
            )
            assert said is not None, f"nothing happened in a minute while {self.state()}"
            died_in = said.partition(":")[0]
            # Next time after the step; then the next step. A state that was left by it begins anew
            # in the next cycle.
            if self.state() != died_in != STARTING:
                at[died_in], after[died_in] = 1, False
                continue
            if after.get(died_in, False):
                at[died_in] = at.get(died_in, 1) + stride
            after[died_in] = not after.get(died_in, False)

    def settle(self) -> None:
        """Let a worker that nobody kills finish what is open."""
        free = Plan(dict.fromkeys(STATES))
        child = fork(lambda: run_worker(self.dsn, CONFIG, self.home, self.url, free, -1))
        try:
            ended = len(self.ask("select 1 from cycles where ended_at is not null"))
            until(lambda: len(self.ask("select 1 from cycles where ended_at is not null")) > ended)
        finally:
            end(child)

    def check(self) -> None:
        """What must hold after any number of crashes."""
        kept = {id_ for (id_,) in self.ask("select id from feedback")}
        told = set(self.told.read_text().split())
        assert len(told) > 20
        assert told <= kept, "feedback that was acknowledged is lost"

        ((live, canary),) = self.ask("select live, canary from aliases")
        releases = self.ask("select action, checkpoint, previous, cycle from releases order by id")
        was: str | None = None
        tried: str | None = None
        for action, checkpoint, previous, _ in releases:
            if action in ("create", "promote", "rollback"):
                assert previous == was, "a release came from what was not live"
                was, tried = checkpoint, None
            elif action == "canary":
                assert tried is None, "two canaries at once"
                tried = checkpoint
            elif action == "abort":
                assert tried == checkpoint
                tried = None
        assert (was, tried) == (live, canary), "the history does not lead to what is live"

        cycles = self.ask("select id, state, outcome, candidate, ended_at from cycles")
        assert sum(ended is None for *_, ended in cycles) <= 1
        for id_, state, outcome, candidate, ended in cycles:
            ends = [r for r in releases if r[3] == id_ and r[0] in ("promote", "abort")]
            begins = [r for r in releases if r[3] == id_ and r[0] == "canary"]
            assert len(begins) <= 1, "a canary began twice"
            if ended is None:
                assert not ends
                continue
            assert state == "ended"
            assert outcome in ("promoted", "rolled_back", "rejected", "no_signal"), outcome
            assert len(ends) == (outcome in ("promoted", "rolled_back")), "not ended once"
            if candidate:
                verify(Registry(self.home / "checkpoints").load(candidate))
        registry = Registry(self.home / "checkpoints")
        known = {id_ for (id_,) in self.ask("select id from checkpoints")}
        for stored in registry.checkpoints():
            verify(registry.load(stored))  # what is visible is whole
        assert known <= {BASE, *registry.checkpoints()}
        twice = self.ask(
            "select r.feedback from cycle_rows r join cycles c on c.id = r.cycle"
            " where c.outcome = 'promoted' and r.feedback is not null"
            " group by r.feedback having count(distinct c.id) > 1"
        )
        assert not twice, "two released cycles read the same feedback as new"


STATES = (STARTING, "claiming", "learning", "calibrating", "warming", "gating", "canary", "api")


@pytest.fixture
def service(database_dsn: str, tmp_path: Path) -> Iterator[Service]:
    made = Service(database_dsn, tmp_path)
    folder = write_base(tmp_path / "base")
    with psycopg.connect(database_dsn, autocommit=True) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values (%s, 'base', %s, '{}')",
            (BASE, str(folder)),
        )
        conn.execute("insert into aliases (name, live) values ('code', %s)", (BASE,))
        conn.execute(
            "insert into releases (alias, action, checkpoint, reason)"
            " values ('code', 'create', %s, 'test')",
            (BASE,),
        )
    made.failed.touch()
    made.start_api()
    try:
        until(made.answers)
        made.users = fork(lambda: run_users(made.url, made.told, made.failed))
        yield made
    finally:
        end(made.users)
        end(made.api)


def kill_the_worker(service: Service, kills: int, stride: int) -> None:
    service.sweep(kills, stride)
    service.settle()
    end(service.users)
    service.check()
    assert not service.failed.read_text(), "a request failed though only the worker died"


def kill_the_api(service: Service, lives: int, draw: random.Random) -> None:
    """The API dies at one of its own statements, each time at another one."""
    end(service.api)
    for _ in range(lives):
        plan = Plan({"api": draw.randrange(1, 60)}, {"api": draw.random() < 0.5})
        died = service.live(
            lambda report: run_api(service.dsn, service.port, service.home / "cache", plan, report)  # noqa: B023
        )
        assert died is not None
    service.start_api()
    until(service.answers)
    time.sleep(1.0)
    end(service.users)
    service.check()


def test_a_few_crashes_of_the_worker_and_the_api(service: Service) -> None:
    until(lambda: service.told.exists() and len(service.told.read_text().split()) > 30)
    kill_the_worker(service, kills=24, stride=5)
    service.users = fork(lambda: run_users(service.url, service.told, service.failed))
    kill_the_api(service, lives=6, draw=random.Random(0))
    assert len(service.kills) >= 15, service.kills


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_crashes_at_every_step(service: Service) -> None:
    until(lambda: service.told.exists() and len(service.told.read_text().split()) > 30)
    kill_the_worker(service, kills=260, stride=1)
    service.users = fork(lambda: run_users(service.url, service.told, service.failed))
    kill_the_api(service, lives=40, draw=random.Random(1))
    seen = {said.partition(":")[0] for said in service.kills}
    assert seen >= {"claiming", "learning", "warming", "gating", "canary", "api"}, seen
    print(f"{sum(service.kills.values())} kills at {len(service.kills)} named steps")
    assert sum(service.kills.values()) >= 200
