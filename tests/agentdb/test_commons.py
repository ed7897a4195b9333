"""Agents that fill what all databases share: they are stopped, and others go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from tests.agentdb.conftest import SETTINGS, until

from liveweights.agentdb import attach, commons
from liveweights.agentdb.commons import CATALOGUE_REASON, QUEUE_PAGES
from liveweights.agentdb.errors import HostError, Refused
from liveweights.agentdb.minder import DISK_REASON
from liveweights.agentdb.rows import Database, Level, State
from liveweights.agentdb.service import Address, Databases
from liveweights.store import place

Opened = Callable[..., Any]
MIB = 2**20


def files(folder: Path) -> Path:
    return place.root_of(folder / "postgres")


def bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total


async def as_client(address: Address, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(address.dsn(), autocommit=True) as conn:
        for statement in statements:
            await conn.execute(statement.encode())


async def ended(address: Address, *statements: str) -> None:
    """Until the session is ended from outside."""
    async with asyncio.timeout(120):
        while True:
            try:
                await as_client(address, *statements)
            except psycopg.OperationalError:
                return
            except psycopg.Error:
                continue


def closed_for(folder: Path, identifier: str) -> Callable[[], Awaitable[str]]:
    """Asks for all that such a database was ever closed for, which the host writes down: it may be
    open again before anybody looks."""

    async def told() -> str:
        lines = (folder / "host.log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if f"{identifier} is closed: " in line)

    return told


async def broken(conn: psycopg.AsyncConnection[Any]) -> None:
    """Until such a session has been ended from outside."""

    async def ends() -> bool:
        try:
            await conn.execute("select 1")
        except psycopg.OperationalError:
            return True
        return False

    await until(ends, bool)
    await conn.close()


async def opens_again(databases: Databases, name: str) -> None:
    """One whose sessions have been ended: until then nobody can connect."""

    async def works() -> bool:
        with contextlib.suppress(psycopg.Error, Refused, HostError):
            await databases.sql(name, "select 1")
            return True
        return False

    await until(works, bool)
    assert [(one.level, one.reason) for one in await databases.list()] == [(Level.OPEN, "")]


async def still_works(databases: Databases, name: str) -> None:
    await databases.sql(
        name, "create table if not exists still (a int); insert into still values (1)"
    )


LOG_FLOOD = (
    "do $$ begin for i in 1..2000 loop raise log '%', repeat('x', 10000); end loop; end $$",
    "do $$ begin for i in 1..2000 loop raise warning '%', repeat('x', 1000); end loop; end $$",
    "set debug_print_plan = on; set debug_print_parse = on; set client_min_messages = error;"
    "do $$ begin for i in 1..200 loop execute 'select count(*) from pg_class' || repeat(' ', i);"
    " end loop; end $$",
)


def test_the_servers_log_takes_nothing_of_what_an_agent_raises(
    opened: Opened, agents_folder: Path
) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("a")
            log = files(agents_folder) / "log"
            before = log.stat().st_size
            for read_only in (True, False):
                address = await databases.connect("a", read_only=read_only)
                await as_client(address, *LOG_FLOOD)
                for text in ("select 1 / 0", "selct", "table missing"):
                    with pytest.raises(psycopg.Error):
                        await as_client(address, f"/* {'x' * 100_000} */ {text}")
                for name, value in (("log_min_messages", "log"), ("temp_file_limit", "-1")):
                    for text in (
                        f"set {name} = {value}",
                        f"set role none; alter role current_user set {name} = {value}",
                        f"alter database {address.database} reset {name}",
                    ):
                        with pytest.raises(errors.InsufficientPrivilege):
                            await as_client(address, text)
                await as_client(address, "set role none; alter role current_user reset all")
                await as_client(address, *LOG_FLOOD)
            assert log.stat().st_size - before < 10_000

    asyncio.run(work())


@pytest.mark.parametrize("call", ["pg_notify('a', 'b')", "pg_export_snapshot()"])
def test_what_a_reader_could_write_with_is_revoked(opened: Opened, call: str) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("a")
            with pytest.raises(errors.InsufficientPrivilege):
                await databases.sql("a", f"select {call}", read_only=True)

    asyncio.run(work())


NOTIFY_FLOOD = (
    "do $$ begin for i in 1..{count} loop"
    " execute format('notify a, %L', i || repeat('z', 7000)); end loop; end $$"
)


def test_notifications_stay_within_their_bound_and_others_can_notify(
    opened: Opened, agents_folder: Path
) -> None:
    queue = files(agents_folder) / "data" / "pg_notify"

    async def work() -> None:
        async with opened() as databases, opened() as others:
            await databases.create("a")
            await others.create("b")
            reader = await databases.connect("a", read_only=True)
            other = await others.connect("b", read_only=True)

            async def others_can() -> bool:
                with contextlib.suppress(errors.ProgramLimitExceeded):
                    await as_client(other, "notify c, 'd'")
                    return True
                return False

            with pytest.raises(errors.ProgramLimitExceeded):
                await as_client(reader, NOTIFY_FLOOD.format(count=5000))
            assert bytes_in(queue) <= (QUEUE_PAGES + 64) * 8192
            await until(others_can, bool)

            # Somebody listens and stays in a transaction, so that the queue cannot be emptied.
            holder = await psycopg.AsyncConnection.connect(reader.dsn())
            await holder.execute("listen a")
            await holder.commit()
            await holder.execute("select 1")
            with pytest.raises(errors.ProgramLimitExceeded):
                await as_client(reader, NOTIFY_FLOOD.format(count=5000))
            with pytest.raises(errors.ProgramLimitExceeded):
                await as_client(other, "notify c, 'd'")
            await until(others_can, bool)
            await broken(holder)
            assert bytes_in(queue) <= (QUEUE_PAGES + 64) * 8192
            await still_works(others, "b")
            assert (await others.list())[0].level is Level.OPEN

    asyncio.run(work())


def test_temporary_files_count_as_size(opened: Opened, agents_folder: Path) -> None:
    big = "select repeat(md5(g::text), 32) from generate_series(1, {rows}) g"

    async def work() -> None:
        async with opened() as databases, opened() as others:
            await databases.create("a", size_mb=16)
            await others.create("b")
            reader = await databases.connect("a", read_only=True)
            with pytest.raises(errors.ConfigurationLimitExceeded, match="temp_file_limit"):
                await as_client(reader, f"declare c cursor with hold for {big.format(rows=40_000)}")
            held = [await psycopg.AsyncConnection.connect(reader.dsn()) for _ in range(2)]
            for conn in held:  # each within the limit, both far over it
                with contextlib.suppress(psycopg.OperationalError):
                    await conn.execute(
                        f"declare c cursor with hold for {big.format(rows=13_000)}".encode()
                    )
                    await conn.commit()
            told = await until(closed_for(agents_folder, reader.database), bool)
            assert "far more than its limit of 16 MiB" in told
            for conn in held:
                await broken(conn)
            await still_works(others, "b")
            await opens_again(databases, "a")  # the files have gone with the sessions

    asyncio.run(work())


SETTINGS_FLOOD = (
    "do $$ declare v text; begin"
    " select string_agg(md5(random()::text), '') into v from generate_series(1, 30000);"
    " for i in 1..100 loop"
    " execute format('alter role %I set application_name = %L', current_user, v); commit;"
    " end loop; end $$"
)


def test_the_shared_catalogues_are_watched(opened: Opened, agents_folder: Path) -> None:
    async def work() -> None:
        async with opened() as databases, opened() as others:
            await databases.create("a")
            await others.create("b")
            reader = await databases.connect("a", read_only=True)
            flood = asyncio.create_task(ended(reader, SETTINGS_FLOOD))
            told = closed_for(agents_folder, reader.database)
            try:
                await until(told, lambda found: CATALOGUE_REASON in found)
                await flood
            finally:
                flood.cancel()
            await still_works(others, "b")
            await opens_again(databases, "a")

            async def shared() -> int:
                async with others._connection() as conn:
                    cursor = await conn.execute(
                        "select pg_total_relation_size('pg_db_role_setting')"
                    )
                    return int((await cursor.fetchone())[0])

            await until(shared, lambda found: found < 64 * MIB)

    asyncio.run(work())


def test_catalogues_shrink_though_a_row_in_use_is_at_their_end(
    postgres: str, tmp_path: Path
) -> None:
    """Else each who makes a role would be closed from then on."""

    async def work() -> None:
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as conn:
            await conn.execute("create role filled")
            try:
                await conn.execute(SETTINGS_FLOOD.replace("current_user", "'filled'").encode())
                before = await conn.execute(commons.SHARED.encode())
                assert (await before.fetchone() or [0])[0] > commons.CATALOGUES
                assert await commons.look(conn, tmp_path, 0) == commons.Commons()
                after = await conn.execute(commons.SHARED.encode())
                assert (await after.fetchone() or [0])[0] < commons.CATALOGUES
                kept = await conn.execute("select count(*) from pg_db_role_setting")
                assert await kept.fetchone() == (1,)
            finally:
                await conn.execute("drop role filled")

    asyncio.run(work())


def test_catalogues_shrink_though_a_session_of_an_agent_reads_them(
    postgres: str, tmp_path: Path
) -> None:
    async def work() -> None:
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as conn:
            await conn.execute("create role filled")
            await conn.execute("create database db_reading")
            there = make_conninfo(postgres, dbname="db_reading")
            holder = await psycopg.AsyncConnection.connect(there)
            try:
                await holder.execute("table pg_db_role_setting")
                await conn.execute(SETTINGS_FLOOD.replace("current_user", "'filled'").encode())
                await asyncio.sleep(1.0)
                assert await commons.look(conn, tmp_path, 0) == commons.Commons()
                after = await conn.execute(commons.SHARED.encode())
                assert (await after.fetchone() or [0])[0] < commons.CATALOGUES
                await broken(holder)
            finally:
                await holder.close()
                await conn.execute("drop database db_reading with (force)")
                await conn.execute("drop role filled")

    asyncio.run(work())


OWN_ROW = "set role none; alter role current_user set work_mem = '4MB'"


@asynccontextmanager
async def holding(address: Address, statement: str) -> AsyncGenerator[None]:
    """A session that has run it and stays in its transaction, until it is ended from outside."""
    holder = await psycopg.AsyncConnection.connect(address.dsn())
    await holder.execute(statement.encode())
    async with asyncio.timeout(120):  # what waits for it does so for ever
        yield
    await broken(holder)


@pytest.mark.parametrize("read_only", [False, True])
def test_no_session_makes_a_call_wait(opened: Opened, read_only: bool) -> None:
    async def work() -> None:
        async with opened() as databases, opened() as others:
            await databases.create("a")
            await others.create("b")
            address = await databases.connect("a", read_only=read_only)
            await as_client(address, OWN_ROW)
            async with holding(address, OWN_ROW):
                own = asyncio.create_task(databases.sql("a", "select 1"))
                await still_works(others, "b")
                await own

    asyncio.run(work())


def test_no_session_makes_the_minder_wait(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases, opened() as others:
            await databases.create("a", size_mb=16)
            await others.create("b", idle=0.5)
            address = await databases.connect("a")
            async with holding(address, OWN_ROW):
                with contextlib.suppress(psycopg.OperationalError):  # ended together with that one
                    await as_client(
                        address,
                        "create table t as select repeat(md5(g::text), 32)"
                        " from generate_series(1, 9000) g",
                    )
                await until(databases.list, lambda found: found[0].level is Level.REDUCED)
                await until(others.list, lambda found: found[0].state is State.PAUSED)

    asyncio.run(work())


@pytest.mark.parametrize(
    "statement",
    [
        "set role none; alter role current_user in database {other} set work_mem = '4MB'",
        "create table t (a int); grant select on t to {other}_ro",
        "grant create on database {other} to agents_owner",
    ],
)
def test_no_session_keeps_the_database_of_another(opened: Opened, statement: str) -> None:
    async def work() -> None:
        async with opened() as databases, opened() as others:
            await databases.create("a")
            other = (await others.create("b")).id
            address = await databases.connect("a")

            async def left() -> int:
                async with databases._connection() as conn:
                    cursor = await conn.execute(
                        "select count(*) from pg_roles where left(rolname, 15) = %s", (other,)
                    )
                    return int((await cursor.fetchone())[0])

            async with holding(address, statement.format(other=other)):
                await others.delete("b")
                assert await left() == 0

    asyncio.run(work())


@pytest.mark.fault
def test_where_the_disk_is_scarce_what_grows_is_closed_and_others_go_on(folder: Path) -> None:
    grow = "insert into t select repeat(md5(g::text), 100) from generate_series(1, 2000) g"
    scarce = msgspec.structs.replace(SETTINGS, free_disk_mb=10**9)

    async def work() -> None:
        async with Databases(folder, SETTINGS) as databases:
            for name in ("grows", "rests"):
                await databases.create(
                    name, script="create table t (a text); alter table t alter a set storage plain"
                )
        await attach.stop(folder, SETTINGS)
        async with Databases(folder, scarce) as databases:

            async def grows() -> Database:
                with contextlib.suppress(psycopg.Error, Refused, HostError):
                    await databases.sql("grows", grow)
                return (await databases.list())[0]

            found = await until(grows, lambda found: found.level is Level.CLOSED)
            assert found.reason == DISK_REASON
            with pytest.raises(Refused, match=r"grows is closed: the disk is nearly full"):
                await databases.sql("grows", "select 1")
            await still_works(databases, "rests")
            with pytest.raises(Refused, match="of disk are free"):
                await databases.create("more")
        await attach.stop(folder, SETTINGS)
        async with Databases(folder, SETTINGS) as databases:
            await until(grows, lambda found: found.level is Level.OPEN)

    asyncio.run(work())
