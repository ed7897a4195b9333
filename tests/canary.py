"""A text that must not be found any more, and where to look for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

TEXT = "kanarienvogel-7f3aq"
IDS = [31337, 21212, 31337]
"""Token ids that stand for it: a prompt is kept as numbers."""


def marks(text: str = TEXT, ids: list[int] = IDS) -> list[bytes]:
    """How it may stand in a file."""
    words = [id.to_bytes(4, order) for order in ("little", "big") for id in ids]
    half = len(ids)
    return [
        text.encode(),
        text.encode("utf-16-le"),
        text.encode().hex().encode(),
        ",".join(map(str, ids)).encode(),
        ", ".join(map(str, ids)).encode(),
        b"".join(words[:half]),
        b"".join(words[half:]),
        # As Postgres stores arrays for COPY: each element with its length.
        b"".join(b"\0\0\0\4" + word for word in words[half:]),
    ]


def find_files(*folders: Path, text: str = TEXT, ids: list[int] = IDS) -> list[str]:
    """Files that hold it; those of Parquet are read."""
    wanted = marks(text, ids)
    found: list[str] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            try:
                content = path.read_bytes()
            except OSError:  # gone meanwhile, or a socket
                continue
            if path.suffix == ".parquet":
                import pyarrow.parquet as pq

                content += str(pq.read_table(path).to_pylist()).encode()
            if any(mark in content for mark in wanted):
                found.append(str(path))
    return found


def find_rows(dsn: str, *, text: str = TEXT, ids: list[int] = IDS) -> list[str]:
    """Tables of the database that hold it, those of the system included."""
    patterns = [f"%{mark.decode()}%" for mark in marks(text, ids)[:5] if b"\0" not in mark]
    found: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        tables = conn.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n"
            " on n.oid = c.relnamespace where c.relkind in ('r', 'm')"
            " and n.nspname not like 'pg_temp%' and n.nspname not like 'pg_toast_temp%'"
        ).fetchall()
        for schema, table in tables:
            name = sql.Identifier(schema, table)
            try:
                rows = conn.execute(
                    sql.SQL("select count(*) from {} t where t::text like any(%s)").format(name),
                    (patterns,),
                ).fetchone()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
                continue
            if rows and rows[0]:
                found.append(f"{schema}.{table}")
    return found


def databases(dsn: str) -> Iterator[str]:
    """The connection strings of all databases of the server that may be connected to."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        rows = conn.execute("select datname from pg_database where datallowconn").fetchall()
    for (name,) in rows:
        yield make_conninfo(dsn, dbname=name)


def data_folder(dsn: str) -> Path:
    """The server's own files."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("show data_directory").fetchone()
    assert row is not None
    return Path(row[0])
