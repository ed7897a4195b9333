"""What an agent may try against its neighbours, its limits and the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from liveweights.agentdb.roles import login_of
from liveweights.agentdb.service import Address

DENIED = [
    # Files and programs of the machine.
    "select pg_read_file('/etc/passwd')",
    "select pg_read_binary_file('postgresql.conf')",
    "select pg_ls_dir('.')",
    "select pg_stat_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select lo_export(1, '/tmp/x')",
    "create table c (t text); copy c from program 'id'",
    "create table c (t text); copy c to program 'cat'",
    "create table c (t text); copy c from '/etc/passwd'",
    "copy (select 1) to '/tmp/liveweights-out'",
    "load '/tmp/evil.so'",
    "create function f() returns int language c as '/lib/x86_64-linux-gnu/libc.so.6', 'getpid'",
    "create function f() returns int language internal as 'pg_backend_pid'",
    "create tablespace t location '/tmp'",
    # Other servers, and this one by a detour.
    "create extension dblink",
    "create extension postgres_fdw",
    "create extension file_fdw",
    "create extension pageinspect",
    "create extension adminpack",
    "create subscription s connection 'host=/tmp' publication p",
    # Secrets and the catalogue.
    "select * from pg_authid",
    "select * from pg_shadow",
    "select * from pg_hba_file_rules",
    "select * from pg_largeobject",
    "update pg_database set datallowconn = true",
    "delete from pg_class",
    # Settings of the server, and one's own limits.
    "alter system set fsync = off",
    "set temp_file_limit = -1",
    "set log_statement = 'all'",
    "select pg_reload_conf()",
    "select pg_rotate_logfile()",
    "alter database {db} connection limit 1000",
    "alter database {db} allow_connections false",
    "alter database {db} set work_mem = '1GB'",
    "alter database {db} owner to agents_owner",
    "alter database {db} rename to mine",
    "drop database {db}",
    "create database more",
    "create database more template {other}",
    "alter role {db}_rw connection limit 1000",
    "alter role {db}_rw superuser",
    "alter role {db}_rw createdb createrole replication bypassrls",
    "alter role {db}_ro connection limit 9",
    # Becoming somebody else.
    "create role me login",
    "set role liveweights",
    "set role {db}_ro",
    "set role {other}_rw",
    "set role pg_read_all_data",
    "set role pg_execute_server_program",
    "set session authorization liveweights",
    "grant pg_read_all_data to {db}_rw",
    "grant {other} to {db}_rw",
    "grant agents_owner to {db}_ro",
    "alter role {other}_rw password 'mine'",
    "alter role liveweights password 'mine'",
    "reassign owned by agents_owner to {db}_rw",
    "drop role {other}_rw",
    "drop role agents_owner",
    "comment on role agents_owner is 'x'",
    # Code that somebody else would run, and what others hold.
    "create event trigger e on ddl_command_end execute function now()",
    "select pg_create_physical_replication_slot('s')",
    "select pg_create_logical_replication_slot('s', 'pgoutput')",
    "select pg_logical_emit_message(false, 'a', repeat('x', 1000))",
    "select pg_switch_wal()",
    "select pg_stat_reset()",
    "checkpoint",
]


async def attempt(address: Address, text: str) -> None:
    async with await psycopg.AsyncConnection.connect(address.dsn(), autocommit=True) as conn:
        await conn.execute(text.encode())


def test_denied(opened: Callable[..., Any]) -> None:
    async def work() -> list[str]:
        async with opened() as mine, opened() as others:
            own, other = await mine.create("a"), await others.create("b")
            address, succeeded = await mine.connect("a"), []
            for text in DENIED:
                try:
                    await attempt(address, text.format(db=own.id, other=other.id))
                except (
                    errors.InsufficientPrivilege,
                    errors.UndefinedFile,  # an extension that is not even there
                    errors.FeatureNotSupported,
                    errors.WrongObjectType,
                ):
                    pass
                else:
                    succeeded.append(text)
            return succeeded

    assert asyncio.run(work()) == []


def test_no_way_into_another_database(opened: Callable[..., Any]) -> None:
    async def work() -> None:
        async with opened() as mine, opened() as others:
            own, other = await mine.create("a"), await others.create("b")
            # Postgres says nothing worse than a warning, and grants nothing.
            await mine.sql("a", f"grant connect on database {other.id} to {own.id}, {own.id}_rw")
            for read_only in (False, True):
                address = await mine.connect("a", read_only=read_only)
                for host in ("127.0.0.1", address.sockets):
                    await attempt_at(address, host, address.database, None)
                    for database in (other.id, "liveweights", "postgres", "template1", "base"):
                        await attempt_at(address, host, database, psycopg.OperationalError)
            # Neither with one's own password as somebody else.
            for user in (login_of(other.id, read_only=False), other.id, "liveweights", "postgres"):
                stranger = replace(await mine.connect("a"), user=user)
                for host in ("127.0.0.1", stranger.sockets):
                    await attempt_at(stranger, host, other.id, psycopg.OperationalError)
                    await attempt_at(stranger, host, "liveweights", psycopg.OperationalError)

    asyncio.run(work())


async def attempt_at(
    address: Address, host: str, database: str, expected: type[Exception] | None
) -> None:
    dsn = replace(address, database=database).dsn(host)
    if expected is None:
        await (await psycopg.AsyncConnection.connect(dsn)).close()
        return
    with pytest.raises(expected):
        await psycopg.AsyncConnection.connect(dsn)


def test_every_password_is_asked_for(opened: Callable[..., Any]) -> None:
    """By SCRAM, over TCP and the socket: also root and the platform's user are nobody there."""

    async def work() -> None:
        async with opened() as databases:
            await databases.create("a")
            address = await databases.connect("a")
            for user in (address.user, "liveweights"):
                for password in ("", "wrong"):
                    wrong = replace(address, user=user, password=password)
                    for host in ("127.0.0.1", address.sockets):
                        await attempt_at(wrong, host, address.database, psycopg.OperationalError)
            superuser = databases._endpoint.superuser(databases._secret)
            async with await psycopg.AsyncConnection.connect(superuser) as conn:
                cursor = await conn.execute(
                    "select count(*) filter (where rolpassword like 'SCRAM-SHA-256$%'),"
                    " count(*) from pg_authid where rolcanlogin"
                )
                counts = await cursor.fetchone()
                cursor = await conn.execute("select distinct auth_method from pg_hba_file_rules")
                methods = await cursor.fetchall()
            assert counts is not None
            assert counts[0] == counts[1] > 0
            assert methods == [("scram-sha-256",)]

    asyncio.run(work())


WRITES = [
    "insert into t values (2)",
    "update t set a = 2",
    "delete from t",
    "truncate t",
    "drop table t",
    "create table u (a int)",
    "create temporary table u (a int)",
    "create schema s",
    "create extension hstore",
    "select nextval('q')",
    "select setval('q', 9)",
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    "refresh materialized view m",
    "lock table t in exclusive mode",
    "copy t from stdin",
    "do $$ begin insert into t values (3); end $$",
    "set role agents_owner",
]


def test_read_only_is_the_servers_word(opened: Callable[..., Any]) -> None:
    """Also after the session has switched every setting that it may."""

    async def work() -> list[str]:
        async with opened() as databases:
            await databases.create(
                "a",
                script="create table t (a int); insert into t values (1); create sequence q;"
                "create materialized view m as select * from t; create schema deep;"
                "create table deep.d as select 7 as b; create view v as select * from deep.d",
            )
            reader, succeeded = await databases.connect("a", read_only=True), []
            for text in WRITES:
                try:
                    await attempt(reader, f"set default_transaction_read_only = off; {text}")
                except errors.InsufficientPrivilege:
                    pass
                else:
                    succeeded.append(text)
            query = "select (select a from t), (select b from deep.d), (select b from v)"
            results = await databases.sql("a", query, read_only=True)
            assert results[0].rows == [(1, 7, 7)]
            return succeeded

    assert asyncio.run(work()) == []


def test_an_owner_may_do_in_its_database_what_owners_do(opened: Callable[..., Any]) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("a")
            await databases.sql(
                "a",
                "create extension hstore; create extension pg_trgm; create schema s;"
                "create table s.t (a int primary key, b text, c hstore);"
                "insert into s.t values (1, 'b', 'a=>1'); create temporary table x (y int);"
                "create function f() returns int language plpgsql as 'begin return 5; end';"
                "select lo_from_bytea(0, 'x'); drop schema public cascade; create schema public",
            )
            # Even with all of its rights given away it is an owner again at the next connection.
            await databases.sql("a", "set role none; alter role current_user password 'mine'")
            await databases.sql("a", "set role none; alter role current_user reset all")
            assert (await databases.sql("a", "select a from s.t"))[0].rows == [(1,)]

    asyncio.run(work())


def test_giving_up_shared_rights_takes_none_from_others(opened: Callable[..., Any]) -> None:
    async def work() -> None:
        async with opened() as mine, opened() as others:
            await mine.create("a", script="create table t (a int)")
            await others.create("b", script="create table t (a int)")
            for text in (
                "drop owned by agents_owner cascade",
                "alter role agents_owner set search_path = nowhere",
                "alter role agents_owner password 'x'",
                "alter default privileges revoke all on tables from agents_reader",
            ):
                # Either it is refused, or it concerns nobody else.
                try:
                    await mine.sql("a", text)
                except psycopg.Error:
                    continue
            text = (
                "create table u (a int); create temporary table v (a int); insert into t values (1)"
            )
            await others.sql("b", text)
            assert (await others.sql("b", "table u", read_only=True))[0].columns == ["a"]

    asyncio.run(work())


def test_others_queries_are_not_shown(opened: Callable[..., Any]) -> None:
    async def work() -> None:
        async with opened() as mine, opened() as others:
            await mine.create("a")
            await others.create("b")
            address = await others.connect("b")
            async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
                await conn.execute("select 'secret'")
                query = "select 1 from pg_stat_activity where query like '%ecret%' and pid = "
                pid = conn.info.backend_pid
                assert (await mine.sql("a", f"{query}{pid}"))[0].rows == []
                with pytest.raises(errors.InsufficientPrivilege):
                    await mine.sql("a", f"select pg_terminate_backend({pid})")

    asyncio.run(work())


def test_connections_and_memory_are_limited(opened: Callable[..., Any]) -> None:
    async def work() -> None:
        async with opened() as databases:
            await databases.create("a")
            address = await databases.connect("a")
            held = [await psycopg.AsyncConnection.connect(address.dsn()) for _ in range(5)]
            with pytest.raises(psycopg.OperationalError, match="too many connections"):
                await psycopg.AsyncConnection.connect(address.dsn())
            greedy = "select length(repeat('x', 900 * 1024 * 1024))"
            with pytest.raises(errors.OutOfMemory):
                await held[0].execute(greedy)
            for conn in held:  # the others notice nothing
                await conn.rollback()
                await conn.execute("select 1")
                await conn.close()

    asyncio.run(work())
