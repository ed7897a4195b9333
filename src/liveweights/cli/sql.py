"""SQL on the live data, read-only."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import subprocess
import sys
from typing import Annotated, Any

import psycopg
import typer
from psycopg.conninfo import make_conninfo

from liveweights.cli.context import HOME, Home, Json, Settings, query, read_config, refuse
from liveweights.cli.output import show, show_json
from liveweights.store import binaries
from liveweights.store.database import Connection

# Those that every psql knows; an older one stumbles over what a newer library adds.
OPTIONS = (
    *("host", "hostaddr", "port", "dbname", "user"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey"),
)
PROMPT = "liveweights> "
VIEWS = (
    "select relname::text as view, coalesce(obj_description(oid, 'pg_class'), '') as about"
    " from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace order by 1"
)


def sql(
    command: Annotated[
        str | None, typer.Option("--command", "-c", help="Run this and end; `views` lists views.")
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the live data in SQL: psql, or a simple prompt where there is none. Read-only.

    Start with the views: `liveweights sql -c views`. They are explained in docs/insight.md.
    """

    async def run(conn: Connection) -> None:
        await conn.set_autocommit(True)
        await conn.execute("set default_transaction_read_only = on")
        if command is not None:
            await _print(conn, command, as_json, as_csv)
        elif program := find_psql():
            await asyncio.to_thread(_psql, program, conn)
        else:
            await _prompt(conn)

    query(read_config(config), home, run)


def find_psql() -> str | None:
    """The system's psql, else the one that came with the embedded server."""
    if found := shutil.which("psql"):
        return found
    try:
        ours = binaries.find() / "psql"
    except binaries.NoBinaries:
        return None
    return str(ours) if os.access(ours, os.X_OK) else None


def _psql(program: str, conn: Connection) -> None:
    given = conn.info.get_parameters()
    dsn = make_conninfo(
        **{name: given[name] for name in OPTIONS if name in given},
        application_name="liveweights sql",
    )
    env = {**os.environ, "PGOPTIONS": "-c default_transaction_read_only=on"}
    if conn.info.password:
        env["PGPASSWORD"] = conn.info.password
    subprocess.run([program, dsn], env=env, check=False)


async def _print(conn: Connection, text: str, as_json: bool, as_csv: bool) -> None:
    try:
        names, rows = await _ask(conn, VIEWS if text.strip() == "views" else text)
    except psycopg.Error as error:
        raise refuse(str(error).strip()) from error
    if as_json:
        show_json(rows)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(row.values() for row in rows)
    else:
        show(rows, names, False)


async def _ask(conn: Connection, text: str) -> tuple[list[str], list[dict[str, Any]]]:
    cursor = await conn.execute(text.encode())
    if cursor.description is None:
        return [], []
    names = [column.name for column in cursor.description]
    return names, [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def _prompt(conn: Connection) -> None:
    """Statements end with a semicolon; the end of input ends it."""
    typer.echo("A statement ends with ;  `views;` lists the views. Ctrl-D ends.")
    text = ""
    while True:
        try:
            text += await asyncio.to_thread(input, "... " if text else PROMPT) + "\n"
        except EOFError:
            return
        statement, end, _ = text.strip().rpartition(";")
        if not end:
            continue
        text = ""
        try:
            await _print(conn, statement, as_json=False, as_csv=False)
        except typer.Exit:
            continue  # it was told what is wrong
