from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import torch
from psycopg.conninfo import make_conninfo
from tests.cycle.history import Tiny
from tests.sharing.tiny import CPU, make_base

from liveweights.cycle import learning, unlearning
from liveweights.learn.job import Job, read_job
from liveweights.learn.learner import learn
from liveweights.learn.updaters.load import load_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    base = make_base(tmp_path_factory.mktemp("base"))
    return Tiny(base, load_model(base.folder, torch.float32, CPU))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What the learner itself is given, in this process: starting one takes longer than the
    update."""
    given: list[Job] = []

    async def run(folder: Path) -> None:
        given.append(read_job(folder / "job.json"))
        await asyncio.to_thread(learn, given[-1], folder)

    monkeypatch.setattr(learning, "run_learner", run)
    monkeypatch.setattr(unlearning, "run_learner", run)
    return given


@pytest.fixture
def make_dsn(postgres: str, migrated_template: str) -> Iterator[Callable[[], str]]:
    """Makes one more fresh migrated database."""
    names: list[str] = []
    with psycopg.connect(postgres, autocommit=True) as conn:

        def make() -> str:
            names.append(f"history_{len(names)}")
            conn.execute(f"create database {names[-1]} template {migrated_template}".encode())
            return make_conninfo(postgres, dbname=names[-1])

        try:
            yield make
        finally:
            for name in names:
                conn.execute(f"drop database {name} with (force)".encode())
