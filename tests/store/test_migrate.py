from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from liveweights.store.migrate import Migration, MigrationError, migrate, packaged

ONE = Migration("0001_one.sql", b"create table one (id int); insert into one values (1);")
TWO = Migration("0002_two.sql", b"create table two (id int);")


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as conn:
        query = "select tablename from pg_tables where schemaname = 'public'"
        return {name for (name,) in conn.execute(query)}


def test_packaged_files_apply_once(empty_dsn: str) -> None:
    names = [migration.name for migration in packaged()]
    assert names[0] == "0001_circle.sql"
    assert migrate(empty_dsn) == names
    assert {"generations", "feedback", "cycles", "migrations"} <= tables(empty_dsn)
    assert migrate(empty_dsn) == []


def test_only_what_is_missing_is_applied(empty_dsn: str) -> None:
    assert migrate(empty_dsn, [ONE]) == ["0001_one.sql"]
    assert migrate(empty_dsn, [ONE, TWO]) == ["0002_two.sql"]


def test_changed_file_is_refused(empty_dsn: str) -> None:
    migrate(empty_dsn, [ONE])
    changed = Migration(ONE.name, ONE.sql + b" -- changed")
    with pytest.raises(MigrationError, match=r"0001_one\.sql was applied with other content"):
        migrate(empty_dsn, [changed, TWO])
    assert "two" not in tables(empty_dsn)


def test_newer_database_is_refused(empty_dsn: str) -> None:
    migrate(empty_dsn, [ONE, TWO])
    with pytest.raises(MigrationError, match=r"0002_two\.sql.*newer version"):
        migrate(empty_dsn, [ONE])


def test_foreign_database_is_refused(empty_dsn: str) -> None:
    migrate(empty_dsn, [ONE])
    with pytest.raises(MigrationError, match="do not belong together"):
        migrate(empty_dsn, [Migration("0001_other.sql", b"select 1")])


def test_failing_file_leaves_nothing_of_itself(empty_dsn: str) -> None:
    bad = Migration("0002_bad.sql", b"create table half (id int); select 1 / 0;")
    with pytest.raises(MigrationError, match=r"0002_bad\.sql failed: division by zero"):
        migrate(empty_dsn, [ONE, bad])
    assert tables(empty_dsn) == {"migrations", "one"}
    assert migrate(empty_dsn, [ONE, TWO]) == ["0002_two.sql"]


def test_many_processes_at_once_apply_once(empty_dsn: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty_dsn, [ONE, TWO]), range(4)))
    assert sorted(applied) == [[], [], [], [ONE.name, TWO.name]]
