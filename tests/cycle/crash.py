"""Processes that kill themselves at a chosen step: every statement, commit and rename is one.

A process is forked with a plan: in which state of the cycle, at which step counted in it, before
or after the step is done. Nothing in the product knows of it. The steps are what crosses the
border of the process: SQL statements, commits, and names on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import psycopg
import uvicorn
from safetensors.numpy import save_file
from tests.release.scripted import ScriptedEngine
from tests.serve.api.doubles import make_tokenizer

from liveweights.config import Config
from liveweights.cycle import learning
from liveweights.cycle import steps as steps_module
from liveweights.cycle.worker import Worker
from liveweights.engines.protocol import Sampling, Token
from liveweights.learn.job import RESULT, WEIGHTS, HeldBack, Job, Report, Result
from liveweights.record.writer import Writer
from liveweights.release.deployer import Deployer
from liveweights.release.settings import DeploymentSettings
from liveweights.serve.api.app import create_app
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.probes import read_probes

STARTING = "starting"


@dataclass
class Plan:
    """Where to die: ``at`` counts from 1 in ``state``; no number never dies there."""

    at: dict[str, int | None] = field(default_factory=dict)
    after: dict[str, bool] = field(default_factory=dict)


class Steps:
    """Counts this process's steps and kills it where the plan says."""

    def __init__(self, plan: Plan, report: int) -> None:
        self.plan, self.report = plan, report
        self.state = STARTING
        self.count: Counter[str] = Counter()

    def before(self, name: str) -> bool:
        """Returns whether to die after this step."""
        self.count[self.state] += 1
        if self.count[self.state] != self.plan.at.get(self.state, 1):
            return False
        if self.plan.after.get(self.state, False):
            os.write(self.report, f"{self.state}: after {name}\n".encode())
            return True
        os.write(self.report, f"{self.state}: before {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    @staticmethod
    def after(dies: bool) -> None:
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Make every step of this process one of ours. Only for a process that will die."""
        execute = psycopg.AsyncCursor.execute
        commit = psycopg.AsyncConnection.commit
        leave = psycopg.AsyncTransaction.__aexit__
        rename, fsync = Path.rename, os.fsync

        async def watched_execute(cursor: Any, query: Any, *args: Any, **more: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else str(query)
            dies = self.before(" ".join(text.split()[:3]))
            result = await execute(cursor, query, *args, **more)
            self.after(dies)
            return result

        async def watched_commit(conn: Any) -> None:
            dies = self.before("commit")
            await commit(conn)
            self.after(dies)

        async def watched_leave(transaction: Any, *error: Any) -> Any:
            dies = self.before("end of transaction")
            result = await leave(transaction, *error)
            self.after(dies)
            return result

        def watched_rename(path: Path, target: Any) -> Path:
            dies = self.before("rename")
            result = rename(path, target)
            self.after(dies)
            return result

        def watched_fsync(descriptor: int) -> None:
            dies = self.before("fsync")
            fsync(descriptor)
            self.after(dies)

        psycopg.AsyncCursor.execute = watched_execute  # type: ignore[method-assign]
        psycopg.AsyncConnection.commit = watched_commit  # type: ignore[method-assign]
        psycopg.AsyncTransaction.__aexit__ = watched_leave  # type: ignore[method-assign]
        Path.rename = watched_rename  # type: ignore[method-assign]
        os.fsync = watched_fsync


def fork(work: Callable[[], Any]) -> int:
    """Run ``work`` in a child of its own; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(0)  # pytest-timeout's is the parent's
        os.environ["PYTHONWARNINGS"] = "ignore"
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def end(child: int, number: int = signal.SIGKILL) -> None:
    """End a child; 0, none yet, is nobody (to the kernel it would be our whole group)."""
    if child <= 0:
        return
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, number)
        os.waitpid(child, 0)


# The processes.


def run_worker(dsn: str, config: Config, home: Path, url: str, plan: Plan, report: int) -> None:
    """The real worker with an update that takes no time."""
    steps = Steps(plan, report)
    take = steps_module.Steps.take

    async def stepping(self: steps_module.Steps, cycle: Any) -> Any:
        steps.state = cycle.state
        try:
            return await take(self, cycle)
        finally:
            steps.state = STARTING

    async def learn(folder: Path) -> None:
        pretend_to_learn(folder)

    async def go() -> None:
        pool = await open_pool(dsn)
        steps.watch()
        await Worker(pool, config.for_worker(), home, url, owner="worker").run()

    steps_module.Steps.take = stepping  # type: ignore[method-assign]
    learning.run_learner = learn  # type: ignore[attr-defined]
    asyncio.run(go())


def pretend_to_learn(folder: Path) -> None:
    """What the learner's process leaves behind, for an adapter that is a little better."""
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    adapter = folder / WEIGHTS
    adapter.mkdir(parents=True, exist_ok=True)
    seed = int(folder.name)
    save_file({"lora_A": np.full(4, seed, np.float32)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"r": 4}')
    top = [[token, -1.0 - token / 10, -2.0 - token / 10] for token in range(10)]
    probes = {"probes": [{"prompt_ids": [1, n], "top": top} for n in range(8)]}
    (adapter / "probes.json").write_bytes(msgspec.json.encode(probes))
    held = [
        HeldBack(
            generation=example.generation.id,
            session=example.generation.session or "",
            reward=0.0,
            candidate_answer=[-0.5],
            incumbent_answer=[-0.5],
            behaviour=[-0.5],
            candidate_truth=-0.5,
            incumbent_truth=-1.0 - 0.01 * (place % 5),
        )
        for place, example in enumerate(job.held_back)
    ]
    report = Report(signals={}, rows=len(job.train), taught=len(job.train))
    result = Result(report=report, held_back=held, baseline_weight={"s": 1.0}, baseline_total={})
    (folder / RESULT).write_bytes(msgspec.json.encode(result))


class Engine(ScriptedEngine):
    """Computes what the probes of each checkpoint say, and answers the same to everything."""

    context_length = 512

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        probes = read_probes(checkpoint.folder)
        if probes:
            self.tops[checkpoint.id] = {t: ours for t, ours, _ in probes.probes[0].top}
        await super().load(checkpoint, base)

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncIterator[Token]:
        async for token in super().generate(checkpoint_id, prompt_ids, sampling):
            yield Token(65, "x", -0.5, -0.5, token.top, "stop")


def run_api(dsn: str, port: int, cache: Path, plan: Plan, report: int) -> None:
    """The real API, writer and deployer over an engine that answers at once."""
    steps = Steps(plan, report)
    steps.state = "api"

    async def go() -> None:
        pool = await open_pool(dsn)
        engine, router = Engine(), Router()
        if plan.at.get("api"):
            steps.watch()
        settings = DeploymentSettings(interval=0.1, heartbeat=0.5, max_retry=0.2)
        async with (
            Writer(pool) as writer,
            Deployer(
                pool,
                dsn,
                engine,  # type: ignore[arg-type]
                router,
                instance="api",
                settings=settings,
                cache=cache,
            ),
        ):
            models = Models(make_model(engine, router, make_tokenizer()))  # type: ignore[arg-type]
            app = create_app(models, writer)
            server = uvicorn.Server(
                uvicorn.Config(app, port=port, log_level="critical", access_log=False)
            )
            await server.serve()

    asyncio.run(go())


def run_users(url: str, told: Path, failed: Path) -> None:
    """Four users who ask and react; ``told`` gets the id of each feedback that was answered with
    2xx, ``failed`` a line for each request that was not answered well."""

    async def user(session: aiohttp.ClientSession, name: str) -> None:
        number = 0
        while True:
            number += 1
            body = {
                "model": "code",
                "prompt": f"{name} {number}",
                "max_tokens": 4,
                "user": name,
                "metadata": {"session": f"{name}-{number // 2}"},
            }
            id_ = f"{name}-{number}-{os.getpid()}"
            try:
                async with session.post(f"{url}/v1/completions", json=body) as response:
                    answer = await response.json()
                    if response.status != 200:
                        raise ValueError(str(answer))
                said = {"generation": answer["id"], "id": id_, "signal": "correction", "text": "y"}
                async with session.post(f"{url}/v1/feedback", json=said) as response:
                    if response.status >= 300:
                        raise ValueError(await response.text())
                note(told, id_)
            except (aiohttp.ClientError, ValueError, OSError) as error:
                note(failed, repr(error))
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)

    async def go() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(user(session, f"user{n}") for n in range(4)))

    asyncio.run(go())


def note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Raises TimeoutError."""
    end_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_at:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.02)
