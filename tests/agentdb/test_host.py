"""The server's host and everything else that may be killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.agentdb.conftest import SETTINGS, until

from liveweights import file_modes
from liveweights.agentdb import attach, host
from liveweights.agentdb.endpoint import has_host, read_endpoint
from liveweights.agentdb.errors import HostError, NoDatabase
from liveweights.agentdb.rows import State
from liveweights.agentdb.service import Databases
from liveweights.store import place
from liveweights.store.embedded import port_in_use

pytestmark = pytest.mark.fault

FORKER = """
import asyncio, sys
from pathlib import Path
from liveweights.agentdb.service import Databases

async def work():
    async with Databases(Path(sys.argv[1])) as databases:
        number = 0
        while True:
            await databases.fork("template", f"fork{number}")
            print(number, flush=True)
            if number % 2:
                await databases.delete(f"fork{number}")
            number += 1

asyncio.run(work())
"""


def host_of(folder: Path) -> int:
    return int((folder / "host.lock").read_text())


def server_of(folder: Path) -> int:
    data = place.root_of(folder / "postgres") / "data"
    return int((data / "postmaster.pid").read_text().splitlines()[0])


async def value(databases: Databases, name: str) -> int:
    return (await databases.sql(name, "select sum(a)::int from t"))[0].rows[0][0]


def test_everything_may_be_killed(folder: Path) -> None:
    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases:
            await databases.create("a", script="create table t as select 1 as a")
            address = await databases.connect("a")
            # The host: its server goes on, the next call brings another host.
            os.kill(host_of(folder), signal.SIGKILL)
            async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
                await conn.execute("insert into t values (2)")

            async def replaced() -> bool:
                """A call may come before it has let go of what tells that it is there."""
                assert await value(databases, "a") == 3
                return has_host(folder)

            await until(replaced, bool)
            # Postgres: the host starts it again, at the same place.
            os.kill(server_of(folder), signal.SIGKILL)

            async def total() -> int:
                try:
                    return await value(databases, "a")
                except (psycopg.Error, HostError):
                    return 0

            await until(total, lambda found: found == 3)
            await databases.sql("a", "insert into t values (4)")
            assert await databases.connect("a") == address
            # Both at once.
            host, server = host_of(folder), server_of(folder)
            os.kill(host, signal.SIGKILL)
            os.kill(server, signal.SIGKILL)
            await until(total, lambda found: found == 7)
        async with Databases(folder, SETTINGS) as databases:
            assert [row.name for row in await databases.list()] == ["a"]

    asyncio.run(work())


def test_a_server_that_was_told_politely_to_end_is_started_again(folder: Path) -> None:
    """It would wait for the sessions that are open, and let nobody else in."""

    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases:
            await databases.create("a", script="create table t as select 1 as a")
            address = await databases.connect("a")
            held = await psycopg.AsyncConnection.connect(address.dsn(), autocommit=True)
            await held.execute("select 1")
            first = server_of(folder)
            os.kill(first, signal.SIGTERM)

            async def total() -> int:
                try:
                    return await value(databases, "a")
                except (psycopg.Error, HostError):
                    return 0

            await until(total, lambda found: found == 1)
            assert server_of(folder) != first
            with pytest.raises(psycopg.OperationalError):
                await held.execute("select 1")
            await held.close()

    asyncio.run(work())


def test_a_killed_process_leaves_whole_databases_or_none(folder: Path) -> None:
    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases:
            await databases.create("template", script="create table t as select 1 as a")
            await databases.freeze("template")
            for patience in (0.0, 0.1, 0.25):
                forker = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", FORKER, str(folder), stdout=asyncio.subprocess.PIPE
                )
                assert forker.stdout is not None
                for _ in range(2):
                    assert await forker.stdout.readline()
                await asyncio.sleep(patience)
                forker.kill()
                await forker.wait()
                found = await until(
                    databases.list,
                    lambda found: all(row.state is not State.CREATING for row in found),
                )
                for row in found:
                    if row.name != "template":
                        assert await value(databases, row.name) == 1
                        await databases.delete(row.name)

            async def left() -> list[str]:
                """What of any database but the template is still there."""
                async with databases._connection() as conn:
                    cursor = await conn.execute(
                        "select thing from ("
                        " select 'database ' || datname, datname from pg_database union all"
                        " select 'role ' || rolname, left(rolname, 15) from pg_roles union all"
                        " select 'row ' || id || ' ' || state, id from databases"
                        ") as found (thing, of) where of ~ '^db_' and of not in"
                        " (select id from databases where name = 'template') order by thing"
                    )
                    return [thing for (thing,) in await cursor.fetchall()]

            await until(left, lambda found: not found)

    asyncio.run(work())


@pytest.mark.slow
def test_postgres_is_killed_while_databases_are_made(folder: Path) -> None:
    """Again and again, at any moment: whole databases or none, and nothing left on the disk."""
    expected = sum(number % 7 for number in range(1, 100_001))

    async def fork_for_ever(databases: Databases) -> None:
        for number in itertools.count():
            with contextlib.suppress(psycopg.Error, HostError, NoDatabase):
                await databases.fork("template", f"fork{number}")
                if number % 3:
                    await databases.delete(f"fork{number}")

    async def settled(databases: Databases) -> bool:
        try:
            found = await databases.list()
            for row in found[1:]:
                assert await value(databases, row.name) == expected
                await databases.delete(row.name)
        except (psycopg.Error, HostError, NoDatabase):
            return False
        return len(found) == 1

    async def work() -> None:
        chosen = random.Random(7)
        async with Databases(folder, SETTINGS) as databases:
            await databases.create(
                "template",
                script="create table t as select g % 7 as a, repeat('x', 500) as b"
                " from generate_series(1, 100000) g",
            )
            await databases.freeze("template")
            for _ in range(10):
                forking = asyncio.create_task(fork_for_ever(databases))
                await asyncio.sleep(chosen.uniform(0.5, 3.0))
                os.kill(server_of(folder), signal.SIGKILL)
                forking.cancel()
                await asyncio.wait([forking], timeout=60)
                await until(lambda: settled(databases), bool)
            async with databases._connection() as conn:
                cursor = await conn.execute(
                    "select count(*) from pg_ls_dir('base') d where d ~ '^[0-9]+$'"
                    " and not exists (select from pg_database where oid = d::oid)"
                )
                assert await cursor.fetchone() == (0,)

    asyncio.run(work())


def test_a_server_that_nobody_needs_ends_and_comes_back(folder: Path) -> None:
    brief = msgspec.structs.replace(SETTINGS, linger=0.5)

    async def work() -> None:
        async with Databases(folder, brief) as databases:
            await databases.create("a", script="create table t as select 1 as a", idle=0.5)
            address = await databases.connect("a")

        async def ended() -> bool:
            return not has_host(folder) and port_in_use(folder / "postgres") is None

        await until(ended, bool)
        assert read_endpoint(folder) is None
        async with Databases(folder, brief) as databases:
            assert (await databases.list())[0].state is State.PAUSED
            assert await value(databases, "a") == 1
            assert await databases.connect("a") == address

    asyncio.run(work())


def test_a_host_ends_though_its_minder_waits(folder: Path) -> None:
    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases, databases._connection() as conn:
            await conn.execute("begin")
            await conn.execute("lock table databases")
            await asyncio.sleep(2 * SETTINGS.interval)
            await attach.stop(folder, SETTINGS, patience=60)
        assert not has_host(folder)

    with contextlib.suppress(psycopg.OperationalError):  # the connection has gone with the server
        asyncio.run(work())
    assert not has_host(folder)


def test_who_stops_a_host_that_does_not_end_is_told_what_to_do(folder: Path) -> None:
    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases:
            await databases.create("a")
        host = host_of(folder)
        os.kill(host, signal.SIGSTOP)
        try:
            with pytest.raises(HostError, match=f"kill -9 {host}"):
                await attach.stop(folder, SETTINGS, patience=0.5)
        finally:
            os.kill(host, signal.SIGCONT)

    asyncio.run(work())


def test_many_at_once_get_one_host(folder: Path) -> None:
    async def one(number: int) -> None:
        async with Databases(folder, SETTINGS) as databases:
            await databases.create(f"a{number}")

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(4)))
        async with Databases(folder, SETTINGS) as databases:
            assert len(await databases.list()) == 4

    asyncio.run(work())


def test_after_a_crash_of_the_machine_nothing_is_trusted(folder: Path) -> None:
    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases:
            await databases.create("a")
        await attach.stop(folder, SETTINGS)
        (folder / "boot").write_text("another boot of this machine\n")
        with pytest.raises(HostError, match="cannot be trusted"):
            await attach.attach(folder, SETTINGS)
        await attach.stop(folder, SETTINGS, destroy=True)
        async with Databases(folder, SETTINGS) as databases:
            assert await databases.list() == []

    asyncio.run(work())


def test_a_server_is_called_whole_only_while_the_disk_has_all_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, bool]] = []

    def noted(work: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*values: Any) -> None:
            done.append((work.__name__, port_in_use(folder / "postgres") is not None))
            work(*values)
            assert (folder / "boot").exists()

        return wrapped

    for work in (file_modes.write_durably, file_modes.write_back):
        monkeypatch.setattr(host, work.__name__, noted(work))

    async def work() -> None:
        one = host.Host(folder, SETTINGS)
        running = asyncio.create_task(one.run())

        async def serves() -> bool:
            return read_endpoint(folder) is not None

        await until(serves, bool)
        one.stopping.set()
        assert await running

    asyncio.run(work())
    assert done == [("write_durably", False), ("write_back", False)]
    assert not (folder / "boot").exists()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    # Address space for less than the memory that all its processes share.
    small = msgspec.structs.replace(SETTINGS, connections=100_000, session_memory_mb=16)
    with pytest.raises(HostError, match=r"(?i)memory"):
        asyncio.run(attach.attach(folder, small))
