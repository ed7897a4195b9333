"""Fixtures for everyone: one embedded server per test session, one fresh database per test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.folders import make_folder, remove_leftovers
from tests.timescale.database import forget_database, make_database

from liveweights.config import DATABASE_URL
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import DEFAULT_MODEL, find

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")

# What is started in the background, or by nohup, ignores these, and children inherit that; those of
# who handles them do not.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# What tests start is not to work on the database of a real service.
os.environ.pop(DATABASE_URL, None)

# Tests kill processes, not machines: what the kernel has been given is safe without fsync.
QUICK = {"fsync": "off", "max_connections": "100"}
ENOUGH = timedelta(seconds=30)
"""Of a day, for a test of what is of today."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A superuser's connection string to the session's server: ``LIVEWEIGHTS_TEST_DSN``, on which
    databases ``migrated`` and ``test_N`` are made and dropped, else a server of its own."""
    if yours := os.environ.get("LIVEWEIGHTS_TEST_DSN"):
        yield yours
        return
    remove_leftovers()
    folder = make_folder()
    server = EmbeddedPostgres(folder / "postgres", settings=QUICK)
    try:
        yield server.start()
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> Iterator[str]:
    """The name of a migrated database to make others from."""
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("create database migrated")
        try:
            migrate(make_conninfo(postgres, dbname="migrated"))
            yield "migrated"
        finally:
            conn.execute("drop database migrated with (force)")


_numbers = itertools.count()


def _fresh(postgres: str, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"create database {name} template {template}")
        try:
            yield make_conninfo(postgres, dbname=name)
        finally:
            conn.execute(f"drop database {name} with (force)")


@pytest.fixture
def database_dsn(postgres: str, migrated_template: str) -> Iterator[str]:
    """A fresh migrated database."""
    yield from _fresh(postgres, migrated_template)


@pytest.fixture
def empty_dsn(postgres: str) -> Iterator[str]:
    """A fresh database without any table."""
    yield from _fresh(postgres, "template0")


@pytest.fixture
def timescale_dsn() -> Iterator[str]:
    """A fresh migrated database in the tier ``timescale``; for tests that `needs_timescale`."""
    yield make_database()
    forget_database()


@pytest.fixture
def now() -> datetime:
    """The time, where the day is not over while a test goes on."""
    left = timedelta(days=1) - timedelta(microseconds=time.time_ns() // 1000 % (86_400 * 1_000_000))
    if left < ENOUGH:
        time.sleep(left.total_seconds())
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """Where converted models are kept, also between test sessions."""
    return Path(os.environ.get("LIVEWEIGHTS_CACHE") or "~/.cache/liveweights").expanduser()


@pytest.fixture(scope="session")
def base(model_cache: Path) -> Checkpoint:
    """The packaged model."""
    return find(DEFAULT_MODEL, model_cache)


_SERVERS = {"postgres", "agents_folder", "timescale_dsn"}
"""Fixtures that start a database server."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a database server; those who fork first, while this process has no threads
    but one, then unit tests, then the rest."""
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")

        # There is one schema for them.
        if "timescale_dsn" in getattr(item, "fixturenames", ()):
            item.add_marker("alone")

    def order(item: pytest.Item) -> int:
        if "forks" in item.keywords:
            return 0
        return 1 if not {"database", "model", "fault"} & set(item.keywords) else 2

    items.sort(key=order)


_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_status] = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without tearing down the interpreter.

    With all the extension modules that the tests load, the garbage collector's last pass now and
    then met an object of one of them that was gone, and a green run ended as a segmentation fault.
    """
    if _status in config.stash:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_status])
