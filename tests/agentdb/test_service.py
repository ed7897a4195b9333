from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import errors
from tests.agentdb.conftest import SETTINGS, until

from liveweights.agentdb import lifecycle
from liveweights.agentdb.errors import NoDatabase, Refused
from liveweights.agentdb.rows import OPERATOR, Level, State
from liveweights.agentdb.service import Databases
from liveweights.store import binaries
from liveweights.store.database import Connection

Opened = Callable[..., Any]
TABLE = "create table t as select generate_series(1, 3) as a"
UNHEARD_OF = (float("nan"), float("inf"), float("-inf"), 1e14, -1.0)
"""What is no number of seconds."""


async def count(databases: Databases, name: str, *, read_only: bool = False) -> int:
    results = await databases.sql(name, "select count(*)::int from t", read_only=read_only)
    return results[0].rows[0][0]


def test_create_fork_and_go_separate_ways(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            made = await databases.create("one", script=TABLE)
            assert (made.state, made.level, made.source) == (State.READY, Level.OPEN, None)
            copy = await databases.fork("one", "two")
            assert copy.source == made.id
            await databases.sql("two", "insert into t values (4); alter table t add b int")
            await databases.sql("one", "delete from t where a = 1")
            assert [await count(databases, name) for name in ("one", "two")] == [2, 4]
            assert await count(databases, "two", read_only=True) == 4
            # A fork of a fork, by its own roles, after its origin is gone.
            assert await databases.delete("one")
            await databases.fork("two", "three")
            await databases.sql("three", "drop table t; create table t (a int)")
            assert await count(databases, "three") == 0
            assert [found.name for found in await databases.list()] == ["two", "three"]

    asyncio.run(work())


def test_a_frozen_database_is_a_template(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("one", script=TABLE)
            address = await databases.connect("one")
            async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
                assert (await databases.freeze("one")).state is State.FROZEN
                with pytest.raises(psycopg.OperationalError):
                    await conn.execute("select 1")
            assert (await databases.freeze("one")).state is State.FROZEN
            assert (await databases.pause("one")).state is State.FROZEN
            with pytest.raises(Refused, match="fork it"):
                await databases.sql("one", "select 1")
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(address.dsn())
            await asyncio.gather(*(databases.fork("one", f"copy{n}") for n in range(3)))
            assert [await count(databases, f"copy{n}") for n in range(3)] == [3, 3, 3]

    asyncio.run(work())


def test_the_operators_templates_are_everybodys(opened: Opened) -> None:
    async def work() -> None:
        async with opened(OPERATOR) as operator, opened() as agent:
            await operator.create("private", script=TABLE)
            await operator.create("shared", script=TABLE)
            await operator.freeze("shared")
            await agent.fork("shared", "mine")
            assert await count(agent, "mine") == 3
            with pytest.raises(NoDatabase):
                await agent.fork("private", "stolen")
            for attempt in (agent.sql("private", "select 1"), agent.connect("private")):
                with pytest.raises(NoDatabase):
                    await attempt
            assert await agent.delete("private") is False
            assert [found.name for found in await agent.list(everyone=True)] == ["mine"]
            names = {found.name for found in await operator.list(everyone=True)}
            assert names >= {"private", "shared", "mine"}

    asyncio.run(work())


def test_a_fork_of_an_open_database_ends_its_sessions_only_for_a_moment(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("one", script=TABLE)
            address = await databases.connect("one")
            async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
                await databases.fork("one", "two")
                with pytest.raises(psycopg.OperationalError):
                    await conn.execute("select 1")
            await (await psycopg.AsyncConnection.connect(address.dsn())).close()

    asyncio.run(work())


def test_pause_connect_delete_again_and_again(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("one", script=TABLE)
            address = await databases.connect("one")
            for _ in range(2):
                assert (await databases.pause("one")).state is State.PAUSED
                with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
                    await psycopg.AsyncConnection.connect(address.dsn())
            assert await databases.connect("one") == address
            await (await psycopg.AsyncConnection.connect(address.dsn(address.sockets))).close()
            await databases.pause("one")
            assert await count(databases, "one") == 3
            assert [await databases.delete("one") for _ in range(2)] == [True, False]
            for attempt in (databases.pause("one"), databases.connect("one")):
                with pytest.raises(NoDatabase, match="no database one"):
                    await attempt
            await databases.create("one")  # the name is free

    asyncio.run(work())


def test_idle_is_paused_and_time_is_up(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("idle", idle=0.5)
            await databases.create("brief", ttl=0.5)
            await databases.create("used", idle=0.5)
            address = await databases.connect("used")
            conn = await psycopg.AsyncConnection.connect(address.dsn())
            busy = asyncio.create_task(conn.execute("select pg_sleep(600)"))
            found = await until(
                databases.list,
                lambda rows: [row.state for row in rows if row.name != "used"] == [State.PAUSED],
            )
            assert {row.name: row.state for row in found}["used"] is State.READY
            await conn.cancel_safe()
            with pytest.raises(errors.QueryCanceled):
                await busy
            # Now it is idle too, and its session is ended.
            await until(
                databases.list,
                lambda rows: all(row.state is State.PAUSED for row in rows),
            )
            with pytest.raises(psycopg.OperationalError):
                await conn.execute("select 1")

    asyncio.run(work())


def test_sessions_that_have_ended_were_use(opened: Opened) -> None:
    """Short ones that no look need see, and a long one after its last query."""

    async def work() -> None:
        async with opened() as databases:
            await databases.create("one", idle=3600)
            address = await databases.connect("one")

            async def used_at() -> datetime:
                (row,) = await databases.list()
                return row.used_at

            async def ask_briefly() -> datetime:
                async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
                    await conn.execute("select 1")
                return await used_at()

            connected = await used_at()
            brief = await until(ask_briefly, lambda at: at > connected)
            async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
                came = await until(used_at, lambda at: at > brief)
                await conn.execute("select 1")
                asked = await until(used_at, lambda at: at > came)
            await databases.pause("one")
            assert await used_at() >= asked

    asyncio.run(work())


def test_a_deletion_that_was_cut_off_is_finished(opened: Opened) -> None:
    """After each of its steps, as if its process had been killed there."""

    async def work() -> None:
        async with opened(OPERATOR) as databases:
            for steps in (1, 2, 3):
                made = await databases.create(f"cut{steps}")
                async with databases._connection() as conn:

                    async def left(conn: Connection = conn, id: str = made.id) -> int:
                        query = (
                            "select (select count(*) from databases where id = %s)"
                            " + (select count(*) from pg_database where datname = %s)"
                            " + (select count(*) from pg_roles where left(rolname, 15) = %s)"
                        )
                        row = await (await conn.execute(query, (id, id, id))).fetchone()
                        assert row is not None
                        return row[0]

                    async with lifecycle.locked(conn, made.id):
                        for step in (
                            f"update databases set state = 'deleting' where id = '{made.id}'",
                            f"alter database {made.id} is_template false allow_connections false",
                            f"drop database {made.id} with (force)",
                        )[:steps]:
                            await conn.execute(step.encode())
                        assert await left() == (4 if steps == 3 else 5)
                    await until(left, lambda found: found == 0)

    asyncio.run(work())


async def fill(databases: Databases, megabytes: int) -> None:
    """Write so much. The minder may end the session, or close the door, at any time."""
    for _ in range(megabytes):
        with contextlib.suppress(psycopg.OperationalError, Refused):
            await databases.sql("one", "select fill()")


def test_over_its_size_a_database_can_only_shrink(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases, opened(OPERATOR) as operator:
            await databases.create(
                "one",
                size_mb=16,
                script="create table t (a text); alter table t alter a set storage plain;"
                "create function fill() returns void security definer begin atomic insert into t"
                " select repeat(md5(g::text), 50) from generate_series(1, 600) g; end",
            )

            async def level() -> Level:
                return (await databases.list())[0].level

            await fill(databases, 10)
            await until(level, lambda found: found is Level.REDUCED)
            for text in ("insert into t values ('x')", "create table u (a int)", "drop table t"):
                with pytest.raises(errors.InsufficientPrivilege):
                    await databases.sql("one", text)
            assert await count(databases, "one") > 0
            await databases.sql("one", "delete from t where a = ''; truncate t")
            await until(level, lambda found: found is Level.OPEN)
            # What writes with its owner's rights goes on until nobody gets in.
            await fill(databases, 15)
            await until(level, lambda found: found is Level.CLOSED)
            with pytest.raises(Refused, match="more than its limit of 16 MiB"):
                await databases.sql("one", "truncate t")
            with pytest.raises(Refused, match="only the operator"):
                await databases.limit("one", size_mb=64)
            await operator.limit("one", owner=databases.owner, size_mb=64)
            await until(level, lambda found: found is Level.OPEN)
            assert await count(databases, "one") > 6_000
            with pytest.raises(Refused, match="larger size"):
                await databases.fork("one", "two", size_mb=16)
            assert [found.name for found in await databases.list()] == ["one"]

    asyncio.run(work())


def test_refusals(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("one")
            for name in ("", "One", "a b", "x" * 64, "-a", "a'b", "\0", "\ud800"):
                with pytest.raises(Refused, match="cannot be a name"):
                    await databases.create(name)
                with pytest.raises(NoDatabase):
                    await databases.connect(name)
                with pytest.raises(NoDatabase):
                    await databases.fork(name or "A", "two")
            with pytest.raises(Refused, match="already"):
                await databases.create("one")
            with pytest.raises(NoDatabase):
                await databases.fork("none", "two")
            for limits in ({"ttl": 0.0}, {"ttl": 1e9}, {"size_mb": 10**6}):
                with pytest.raises(Refused, match="may"):
                    await databases.create("two", **limits)
            for limits in (
                *({name: value} for name in ("ttl", "idle") for value in UNHEARD_OF),
                *({"size_mb": size} for size in (-1, 0, 10**18)),
            ):
                with pytest.raises(Refused, match="must be from"):
                    await databases.create("two", **limits)
                with pytest.raises(Refused, match="must be from"):
                    await databases.fork("one", "two", **limits)
            for most in (*({"seconds": value} for value in UNHEARD_OF), {"rows": 0}, {"rows": -1}):
                with pytest.raises(Refused, match="must be from"):
                    await databases.sql("one", "select 1", **most)
            for number in range(SETTINGS.count_of_agent - 1):
                await databases.create(f"more{number}")
            with pytest.raises(Refused, match="delete one"):
                await databases.create("two")
        full = msgspec.structs.replace(SETTINGS, free_disk_mb=10**9)
        async with opened(settings=full) as databases:
            with pytest.raises(Refused, match="disk"):
                await databases.create("one")

    asyncio.run(work())


def test_of_many_at_once_as_many_are_made_as_there_is_room_for(opened: Opened) -> None:
    one = msgspec.structs.replace(SETTINGS, count_of_agent=2)

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            each = [await stack.enter_async_context(opened("crowd", one)) for _ in range(8)]
            makes = (databases.create(f"a{number}") for number, databases in enumerate(each))
            done = await asyncio.gather(*makes, return_exceptions=True)
            refused = [str(error) for error in done if isinstance(error, Refused)]
            assert refused == ["crowd has 2 databases; delete one first"] * 6
            assert len(await each[0].list()) == 2

    asyncio.run(work())


def test_settings_are_checked_also_where_no_file_was_read(tmp_path: Path) -> None:
    for value in UNHEARD_OF:
        wrong = msgspec.structs.replace(SETTINGS, idle=value)
        with pytest.raises(Refused, match=r"settings of the databases: .*idle"):
            Databases(tmp_path, wrong)


def test_a_row_that_cannot_be_reckoned_with_keeps_no_other_waiting(opened: Opened) -> None:
    """Such as an older version may have left."""

    async def work() -> None:
        async with opened() as databases:
            bad = await databases.create("bad")
            await databases.create("good", script=TABLE, idle=0.5)
            async with databases._connection() as conn:
                await conn.execute("alter table databases drop constraint databases_idle_check")
                try:
                    await conn.execute("update databases set idle = 1e14 where id = %s", (bad.id,))

                    async def state() -> State:
                        return (await databases.list())[1].state

                    await until(state, lambda found: found is State.PAUSED)
                    assert await count(databases, "good") == 3
                finally:
                    await conn.execute("update databases set idle = 900 where id = %s", (bad.id,))
                    await conn.execute("alter table databases add check (idle > 0 and idle <= 1e9)")

    asyncio.run(work())


def test_a_script_that_fails_leaves_nothing(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            with pytest.raises(errors.SyntaxError):
                await databases.create("one", script=f"{TABLE}; selct")
            assert await databases.list() == []

    asyncio.run(work())


async def episode(databases: Databases) -> None:
    async with (
        databases.temporary("one") as (_, address),
        await psycopg.AsyncConnection.connect(address.url) as conn,
    ):
        cursor = await conn.execute("select count(*) from t")
        assert await cursor.fetchone() == (3,)
        raise RuntimeError("the episode fails")


def test_temporary(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("one", script=TABLE)
            with pytest.raises(RuntimeError, match="episode"):
                await episode(databases)
            assert [found.name for found in await databases.list()] == ["one"]

    asyncio.run(work())


def test_a_role_that_somebody_mentions_does_not_keep_a_database(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as mine, opened() as others:
            made = await mine.create("a", script=TABLE)
            await others.create("b", script=TABLE)
            await others.sql("b", f"grant select on t to {made.id}_ro")
            address = await mine.connect("a", read_only=True)
            assert await mine.delete("a")
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(replace(address, database="b").dsn())
            await others.delete("b")

            async def left() -> int:
                async with mine._connection() as conn:
                    query = "select count(*)::int from pg_roles where rolname like %s"
                    row = await (await conn.execute(query, (f"{made.id}%",))).fetchone()
                    return row[0]

            await until(left, lambda found: found == 0)

    asyncio.run(work())


def test_sql_results(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("one")
            results = await databases.sql(
                "one",
                "create table t (a int, b text); insert into t select g, 'x' from"
                " generate_series(1, 20000) g; select * from t order by a; select 1 as x, 2 as x;"
                "delete from t where a > 10",
                rows=3,
            )
            assert [result.status for result in results] == [
                "CREATE TABLE",
                "INSERT 0 20000",
                "SELECT 20000",
                "SELECT 1",
                "DELETE 19990",
            ]
            assert results[2].rows == [(1, "x"), (2, "x"), (3, "x")]
            assert [result.truncated for result in results] == [False, False, True, False, False]
            assert (results[3].columns, results[3].rows) == (["x", "x"], [(1, 2)])
            assert await count(databases, "one") == 10  # what came after the long answer was done
            large = "select repeat('x', 5000000) as a from generate_series(1, 5); select 1 as b"
            results = await databases.sql("one", large)
            assert [len(result.rows) for result in results] == [3, 1]
            assert [result.truncated for result in results] == [True, False]
            with pytest.raises(errors.DivisionByZero):
                await databases.sql("one", "insert into t values (0); select 1 / 0")
            assert await count(databases, "one") == 10
            for copy in ("copy t to stdout", "copy t from stdin"):
                with pytest.raises(Refused, match="COPY"):
                    await databases.sql("one", copy)
            with pytest.raises(Refused, match="ran longer"):
                await databases.sql(
                    "one", "set statement_timeout = 0; select pg_sleep(60)", seconds=0.3
                )
            assert await databases.sql("one", "") == []

    asyncio.run(work())


def test_the_usual_variables_lead_there(opened: Opened) -> None:
    async def work() -> None:
        async with opened() as databases, databases.temporary() as (database, address):
            for host in (None, address.sockets):
                variables = address.environment(host) if host else address.environment()
                psql = await asyncio.create_subprocess_exec(
                    *(binaries.find() / "psql", "-XAtc", "select current_database()"),
                    env=variables,
                    stdout=asyncio.subprocess.PIPE,
                )
                output, _ = await psql.communicate()
                assert output.decode().strip() == database.id

    asyncio.run(work())


def test_owners_have_names(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be an owner"):
        Databases(tmp_path, owner="A B")
