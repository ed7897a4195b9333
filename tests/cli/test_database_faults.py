from __future__ import annotations

import psycopg
import pytest

from liveweights.cli.database_faults import describe_fault


def meet(dsn: str, statement: str) -> psycopg.Error:
    with psycopg.connect(dsn) as conn, pytest.raises(psycopg.Error) as met:
        conn.execute(statement)  # type: ignore[arg-type]
    return met.value


def test_tables_of_another_version_are_told_as_such(database_dsn: str) -> None:
    error = meet(database_dsn, "select of_later from aliases")
    assert describe_fault(database_dsn, error) is None  # ours: they are as they should be
    with psycopg.connect(database_dsn) as conn:
        conn.execute("delete from migrations where name = (select max(name) from migrations)")
    assert "of an older version" in (describe_fault(database_dsn, error) or "")
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into migrations (name, checksum) values ('9998_x', ''), ('9999_y', '')"
        )
    assert "9999_y" in (describe_fault(database_dsn, error) or "")
    with psycopg.connect(database_dsn) as conn:
        conn.execute("drop table migrations")
    assert "no tables of liveweights yet" in (describe_fault(database_dsn, error) or "")


def test_what_postgres_refuses_is_no_server_that_is_away(database_dsn: str) -> None:
    late = meet(database_dsn, "set statement_timeout = 10; select pg_sleep(5)")
    assert (describe_fault(database_dsn, late) or "").startswith("the database refuses: canceling")
    with pytest.raises(psycopg.Error) as met:
        psycopg.connect("host=127.0.0.1 port=1")
    told = describe_fault("host=127.0.0.1 port=1", met.value) or ""
    assert told.startswith("the database cannot be reached: ")
