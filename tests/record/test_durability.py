"""Nothing acknowledged is lost, whatever is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.folders import make_folder

from liveweights.record.writer import Writer
from liveweights.store.database import open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate

from .rows import make_feedback, make_generation

pytestmark = pytest.mark.fault

USERS = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from rows import make_feedback, make_generation
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

async def main():
    async with Writer(await open_pool(sys.argv[1])) as writer:
        async def user(name):
            for n in range(10**9):
                id = f"{name}-{n}"
                await writer.add_generation(make_generation(id))
                await writer.add_feedback(make_feedback(id, id))
                print(id, flush=True)
        await asyncio.gather(*(user(f"u{n}") for n in range(8)))

asyncio.run(main())
"""


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    folder = make_folder()
    server = EmbeddedPostgres(folder / "postgres")  # with fsync, as in earnest
    server.start()
    migrate(server.dsn)
    yield server
    server.destroy()
    shutil.rmtree(folder, ignore_errors=True)


def stored(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        return [id for (id,) in conn.execute("select id from feedback")]


def test_the_server_is_killed_while_users_react(server: EmbeddedPostgres) -> None:
    """Three times: killed between acknowledgements, and started again a little later."""
    acknowledged: list[str] = []
    stop = asyncio.Event()

    async def user(writer: Writer, name: str) -> None:
        number = 0
        while not stop.is_set():
            id = f"{name}-{number}"
            await writer.add_generation(make_generation(id))
            assert await writer.add_feedback(make_feedback(id, id))
            acknowledged.append(id)
            number += 1

    async def main() -> None:
        pool = await open_pool(server.dsn)
        async with Writer(pool) as writer:
            users = [asyncio.create_task(user(writer, f"u{n}")) for n in range(8)]
            for _ in range(3):
                before = len(acknowledged)
                while len(acknowledged) < before + 40:
                    await asyncio.sleep(0.005)
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.sleep(0.1)
                await asyncio.to_thread(server.start)
            before = len(acknowledged)
            while len(acknowledged) < before + 40:
                await asyncio.sleep(0.005)
            stop.set()
            await asyncio.gather(*users)
        await pool.close()

    asyncio.run(main())
    assert len(acknowledged) >= 160
    assert sorted(acknowledged) == sorted(stored(server.dsn))


def test_server_and_writer_are_killed_together(server: EmbeddedPostgres) -> None:
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", USERS, server.dsn, here], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(100)]
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    process.kill()
    acknowledged += process.stdout.read().split()
    process.wait()
    server.start()
    kept = stored(server.dsn)
    assert len(set(acknowledged)) >= 100
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
