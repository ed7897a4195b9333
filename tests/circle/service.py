"""A whole running service for tests, its processes, and users who never stop."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg

from liveweights.replay.client import Client, Reaction, RequestFailed, Status
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres

Part = Literal["engine", "api", "worker", "learner", "postgres"]

WANTED = " None  # not yet\n"
"""What every user of these tests writes in place of what was suggested: soon learnt."""


def want(_: str) -> tuple[Reaction, ...]:
    """Whatever was suggested, the user writes something else."""
    return Reaction("rejected"), Reaction("correction", WANTED)


# Cycles of seconds: few rows, and a gate that a handful of cases can pass.
SETTINGS: dict[str, Any] = {
    "engine": {"slots": 4, "context_length": 256, "threads": 1},
    "learn": {
        "nodes": 256,
        "learning_rate": 2e-3,
        "correction_weight": 1.0,
        "silence_weight": 0.0,
        "held_back_share": 0.5,
        "max_rows": 40,
        "user_share": 1.0,
        "probes": 8,
    },
    "gate": {
        "cases": 6,
        "primary": "either",
        "min_cases": 4,
        "min_sessions": 2,
        "min_changed": 0,
        "min_answers": 4,
        "max_drift": 50.0,
        "max_length_ratio": 50.0,
        "max_withheld": 1.0,
        "max_silence": 1.0,
        "max_repetition_rise": 1.0,
    },
    "canary": {
        "steps": [0.5],
        "unit": "reward",
        "min_rewards": 2,
        "max_rewards": 8,
        "max_seconds": 60.0,
        "longest_seconds": 60.0,
        "margin": 0.9,
    },
    "cycle": {"min_feedback": 30, "rest": 0.0, "poll": 0.1, "lease": 5.0},
}


@dataclass
class Users:
    """Four users who ask and ``react`` to what is suggested until they are stopped.

    ``acknowledged`` maps each feedback id that was answered with 2xx to its generation.
    """

    client: Client
    acknowledged: list[str] = field(default_factory=list[str])
    failures: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    answered: dict[str, str] = field(default_factory=dict[str, str])
    """Generation id to checkpoint, in the order of the answers."""
    rate: float = 6.0
    react: Callable[[str], tuple[Reaction, ...]] = want

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(self._use(f"user-{number}"))

    async def _use(self, user: str) -> None:
        for turn in range(10**6):
            with suppress(RequestFailed):
                await self.turn(user, f"{user}-{turn // 3}", turn)
            await asyncio.sleep(4 / self.rate)

    async def turn(self, user: str, session: str, turn: int) -> str:
        """One answer and the reaction to it; the generation's id. Raises RequestFailed."""
        prompt = f"def {user.replace('-', '_')}_step_{turn}(value, limit):\n    result ="
        began = time.monotonic()
        try:
            answer = await self.client.complete(
                prompt, model="code", temperature=0.7, max_tokens=6, session=session, user=user
            )
            self.answered[answer.generation] = answer.checkpoint
            await self.client.feedback(answer.generation, *self.react(answer.text))
        except RequestFailed as error:
            self.failures.append((began, str(error)))
            raise
        self.acknowledged.append(answer.generation)
        return answer.generation


@dataclass
class Running:
    """A service under test."""

    home: Path
    service: Service
    client: Client
    users: Users
    dsn: str
    """Of the service's database; the same after a crash."""

    def pids(self, part: Part) -> list[int]:
        """The living processes that are this part of the service."""
        return [pid for pid, line in _descendants(self.service.pid) if _is_part(line, part)]

    def kill(self, part: Part) -> int:
        """kill -9 every process of the part; how many there were."""
        found = self.pids(part)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    async def status(self) -> Status:
        """As soon as the API answers again. Raises TimeoutError."""
        async with asyncio.timeout(90):
            while True:
                with suppress(RequestFailed):
                    return await self.client.status()
                await asyncio.sleep(0.1)

    async def next_cycle(self, after: int, seconds: float = 600) -> int:
        """The first cycle with a larger id, once it has begun; a database that was killed leaves
        ids out. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                later = [known.id for known in (await self.status()).cycles if known.id > after]
                if later:
                    return min(later)
                await asyncio.sleep(0.05)

    async def until(self, cycle: int, *states: str, seconds: float = 600) -> str:
        """Wait until the cycle is in one of the states; which one. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                for known in (await self.status()).cycles:
                    state = "ended" if known.outcome else known.state
                    if known.id == cycle and state in states:
                        return state
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(model: Path | None = None, **changes: dict[str, Any]) -> AsyncGenerator[Running]:
    """A service on the packaged model, or on ``model``, with users at work; everything ends with
    the block."""
    folder = Path(tempfile.mkdtemp(prefix="liveweights-circle-"))
    settings: dict[str, Any] = {
        name: {**SETTINGS.get(name, {}), **changes.get(name, {})}
        for name in dict.fromkeys([*SETTINGS, *changes])
    }
    if model is not None:
        settings = {"model": str(model), **settings}
    config = folder / "liveweights.toml"
    write_config(config, settings)
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    try:
        async with Client(service.url, timeout=60) as client:
            await service.wait(client, 240)
            users = Users(client)
            dsn = EmbeddedPostgres(folder / "home" / "postgres").start()
            run = Running(folder / "home", service, client, users, dsn)
            working = asyncio.create_task(users.run())
            try:
                yield run
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
    except BaseException:
        print(service.log.read_text(errors="replace")[-6000:])
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)


def rows(run: Running, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the service's database, which answers again within seconds of a crash."""
    end = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(run.dsn) as conn:
                return conn.execute(query.encode(), values).fetchall()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _is_part(line: str, part: Part) -> bool:
    return {
        "engine": "liveweights.engines.llama.host" in line,
        "api": "liveweights.app api" in line,
        "worker": "liveweights.app worker" in line,
        "learner": "liveweights.learn.process" in line,
        "postgres": "bin/postgres" in line,
    }[part]


def _descendants(pid: int) -> Iterator[tuple[int, str]]:
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parents.setdefault(parent, []).append((int(entry.name), line))
    waiting = [pid]
    while waiting:
        for child, line in parents.get(waiting.pop(), []):
            yield child, line
            waiting.append(child)
