"""One server for agents' databases for the whole session, at sizes and times of a test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.folders import make_folder

from liveweights.agentdb import attach
from liveweights.agentdb.service import Databases
from liveweights.agentdb.settings import DatabaseSettings

T = TypeVar("T")
SETTINGS = DatabaseSettings(
    interval=0.2, linger=60, connections_each=5, count_of_agent=4, session_memory_mb=512
)
numbers = itertools.count()


@contextmanager
def server_folder() -> Generator[Path]:
    """The folder of a server that is gone afterwards."""
    folder = make_folder()
    yield folder / "databases"
    asyncio.run(attach.stop(folder / "databases", SETTINGS, destroy=True))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def agents_folder() -> Iterator[Path]:
    """The folder of a server; it is started by the first test that needs it."""
    with server_folder() as folder:
        yield folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a server of the test's own."""
    with server_folder() as folder:
        yield folder


@pytest.fixture
def opened(agents_folder: Path) -> Callable[..., Any]:
    """``async with opened() as databases``: those of a new owner, all deleted afterwards."""

    @asynccontextmanager
    async def opened(
        owner: str | None = None, settings: DatabaseSettings = SETTINGS
    ) -> AsyncGenerator[Databases]:
        name = owner or f"owner{next(numbers)}"
        async with Databases(agents_folder, settings, owner=name) as databases:
            try:
                yield databases
            finally:
                for database in await databases.list():
                    await databases.delete(database.name)

    return opened


async def until(ask: Callable[[], Awaitable[T]], what: Callable[[T], bool]) -> T:
    """What ``ask`` gives as soon as it is as wanted; fails when that takes a minute."""
    deadline = time.monotonic() + 60
    while True:
        found = await ask()
        if what(found):
            return found
        assert time.monotonic() < deadline, f"after a minute it still is {found}"
        await asyncio.sleep(0.1)
