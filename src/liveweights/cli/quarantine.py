"""Rows that Postgres refused: shown, offered again, dropped."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.cli.context import HOME, Home, Json, Settings, query, read_config, refuse, write
from liveweights.cli.output import say, show_json
from liveweights.meter.ledger import Ledger
from liveweights.record import quarantine as table
from liveweights.record.quarantine import Kept
from liveweights.store.database import Connection

Numbers = Annotated[list[int] | None, typer.Argument(help="Of rows to drop; default: all.")]


def quarantine(
    numbers: Numbers = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Offer every row to its table again.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove rows for good.")] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Answers and feedback that Postgres refused to store, with the reason, newest first.

    They hold up no others. Once what was wrong is mended, `--retry` stores them.
    """
    if numbers and not drop:
        raise refuse("numbers say which rows to drop; add --drop")

    async def look(conn: Connection) -> dict[str, Any]:
        return {"rows": await table.read(conn)}

    async def work(conn: Connection) -> dict[str, Any]:
        done: dict[str, Any] = {}
        await conn.set_autocommit(True)
        if retry:
            if count := await table.count(conn):  # each row is a transaction
                await note(conn, Event("retry quarantine", "quarantine", {"rows": count}))
            done["stored"], done["refused_again"] = await table.retry(
                conn, charge=Ledger(), charge_imported=Ledger(imported=True)
            )
        if drop:
            async with conn.transaction():
                wanted = numbers or [row.number for row in await table.read(conn)]
                done["dropped"] = await table.drop(conn, wanted)
                if done["dropped"]:
                    details = {"rows": done["dropped"], "numbers": numbers}
                    await note(conn, Event("drop quarantine", "quarantine", details))
        return done | await look(conn)

    settings = read_config(config, home)
    kept = write(settings, home, work) if retry or drop else query(settings, home, look)
    if as_json:
        show_json(kept)
        return
    for row in kept["rows"]:
        say(f"{row.number:>6}  {describe(row)} ({row.size:,} bytes)")
    counts = [f"{count} {name.replace('_', ' ')}" for name, count in kept.items() if name != "rows"]
    say(", ".join([*counts, f"{len(kept['rows'])} in quarantine"]))


def describe(row: Kept) -> str:
    """In one line; ids are as senders chose them, so their characters are shown escaped."""
    return f"{row.at:%Y-%m-%d %H:%M} {row.kind} {row.id!a} of {row.tenant!a}: {row.reason}"
