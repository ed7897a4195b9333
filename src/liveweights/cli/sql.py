"""SQL on the live data, read-only."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from typing import Annotated

import psycopg
import typer
from psycopg.conninfo import make_conninfo

from liveweights.cli.context import HOME, Home, Json, Settings, query, read_config, refuse
from liveweights.cli.output import say, show_csv, show_json, show_table
from liveweights.cli.psql import find_psql, run_psql
from liveweights.store import results
from liveweights.store.database import Connection
from liveweights.store.results import Unreadable

# Those that every psql knows; an older one stumbles over what a newer library adds.
OPTIONS = (
    *("host", "hostaddr", "port", "dbname", "user"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey"),
)
PROMPT = "liveweights> "
VIEWS = (
    "select relname::text as view, coalesce(obj_description(c.oid, 'pg_class'), '') as about,"
    " string_agg(attname, ', ' order by attnum) as columns"
    " from pg_class c join pg_attribute on attrelid = c.oid and attnum > 0"
    " where relkind = 'v' and relnamespace = 'public'::regnamespace group by c.oid order by 1"
)
DESCRIBE = re.compile(r"\\d[\w+]*(?:\s+([\w.\"]+))?")
"""psql's command for what there is; the name is that of a view or a table."""


def columns_of(name: str) -> str:
    """A query for the columns of a view or a table; Postgres refuses what is neither."""
    quoted = name.replace("'", "''")
    return (
        "select attname::text as column, format_type(atttypid, atttypmod) as type,"
        " coalesce(col_description(attrelid, attnum), '') as about from pg_attribute"
        f" where attrelid = '{quoted}'::regclass and attnum > 0 and not attisdropped"
        " order by attnum"
    )


def translate(text: str) -> str:
    """What is asked in SQL: the word ``views``, psql's ``\\d``, or the statement itself."""
    words = text.strip()
    if words == "views":
        return VIEWS
    if match := DESCRIBE.fullmatch(words):
        return columns_of(match[1]) if match[1] else VIEWS
    return text


def sql(
    command: Annotated[
        str | None,
        typer.Option(
            "--command", "-c", help="Run this and end; `views` lists views, `\\d NAME` columns."
        ),
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the live data in SQL: psql, or a simple prompt where there is none. Read-only.

    Start with the views and their columns: `liveweights sql -c views`. They are explained in
    docs/insight.md.
    """

    async def run(conn: Connection) -> None:
        await conn.set_autocommit(True)
        await conn.execute("set default_transaction_read_only = on")
        await conn.execute("set client_encoding = 'UTF8'")
        if command is not None:
            await _print(conn, command, as_json, as_csv)
        elif program := find_psql():
            _psql(program, conn)  # in this thread: the loop has nothing else to do
        else:
            await _prompt(conn)

    query(read_config(config, home), home, run)


def _psql(program: str, conn: Connection) -> None:
    given = conn.info.get_parameters()
    dsn = make_conninfo(
        **{name: given[name] for name in OPTIONS if name in given},
        application_name="liveweights sql",
    )
    env = {**os.environ, "PGOPTIONS": "-c default_transaction_read_only=on"}
    if conn.info.password:
        env["PGPASSWORD"] = conn.info.password
    run_psql([program, dsn], env)


async def _print(conn: Connection, text: str, as_json: bool, as_csv: bool) -> None:
    """What each statement gave, one after the other."""
    try:
        answers = await results.run(conn, translate(text))
    except (psycopg.Error, Unreadable) as error:
        raise refuse(str(error).strip()) from error
    for result in answers:
        if as_json:
            names = tell_apart(result.columns)
            show_json([dict(zip(names, row, strict=True)) for row in result.rows])
        elif as_csv:
            show_csv(result.columns, result.rows)
        elif result.columns:
            show_table(result.columns, result.rows)
        else:
            say(result.status)


def tell_apart(columns: Sequence[str]) -> list[str]:
    """Names of columns as keys: the second ``a`` is ``a (2)``, and none is lost."""
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names:
            number += 1
            name = f"{column} ({number})"
        names.append(name)
    return names


async def _prompt(conn: Connection) -> None:
    """Statements end with a semicolon; the end of input ends it. Ctrl-C forgets what was typed of
    a statement, and ends it while one runs."""
    say("A statement ends with ;  `views;` lists the views. Ctrl-D ends.")
    text = ""
    while True:
        try:
            text += _ask("... " if text else PROMPT) + "\n"
        except EOFError:
            return
        except KeyboardInterrupt:
            text = ""
            say(text)
            continue
        statement, end, _ = text.strip().rpartition(";")
        if not end:
            continue
        text = ""
        try:
            await _print(conn, statement, as_json=False, as_csv=False)
        except typer.Exit:
            continue  # it was told what is wrong


def _ask(prompt: str) -> str:
    """A line of input. Raises KeyboardInterrupt at once, which asyncio's handler would not, and
    EOFError."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(prompt)
    finally:
        signal.signal(signal.SIGINT, former)
