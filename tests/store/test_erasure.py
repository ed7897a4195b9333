from __future__ import annotations

import asyncio

import psycopg
from tests import canary

from liveweights.store.erasure import erase


def fill(dsn: str, *tables: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for table in tables:
            # The server would analyse it again by itself, when it likes to.
            conn.execute(
                f"create table {table} (id int primary key, said text)"
                " with (autovacuum_enabled = false)".encode()
            )
            conn.execute(f"create index on {table} (said)".encode())
            conn.execute(
                f"insert into {table} select n, 'said ' || n % 100"
                " from generate_series(1, 20000) n".encode()
            )
            conn.execute(
                f"insert into {table} select -n, %s::text from generate_series(1, 400) n".encode(),
                (canary.TEXT,),
            )
            conn.execute(f"analyze {table}".encode())
            conn.execute(f"delete from {table} where id < 0".encode())
        conn.execute("checkpoint")


def run(dsn: str, *tables: str, largest: int = 2**30) -> list[str]:
    async def go() -> list[str]:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await erase(conn, tables, largest=largest)

    return asyncio.run(go())


def test_removed_rows_leave_the_files_of_the_server(empty_dsn: str) -> None:
    """Table, index, statistics and write-ahead log."""
    data = canary.data_folder(empty_dsn)
    fill(empty_dsn, "one", "two")
    assert len(canary.find_files(data)) > 3
    assert "pg_catalog.pg_statistic" in canary.find_rows(empty_dsn)
    assert run(empty_dsn, "one", "two", "not_there") == []
    assert canary.find_files(data) == []
    assert canary.find_rows(empty_dsn) == []
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("select count(*) from one").fetchone() == (20000,)


def test_what_is_too_large_or_in_use_is_told(empty_dsn: str) -> None:
    fill(empty_dsn, "large", "busy", "free")
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("drop index large_said_idx; alter table large add filler text")
        conn.execute("update large set filler = repeat(md5(id::text), 20)")
        row = conn.execute("select pg_total_relation_size('busy')").fetchone()
    assert row is not None
    # The server adds pages of its own to a table, when it likes to.
    largest = row[0] * 3 // 2
    with psycopg.connect(empty_dsn) as user:
        user.execute("select 1 from busy")
        assert run(empty_dsn, "large", "busy", "free", largest=largest) == ["large", "busy"]
    assert run(empty_dsn, "large", "busy", "free") == []
    assert canary.find_files(canary.data_folder(empty_dsn)) == []
