"""``liveweights ledger``: prove what was charged, correct it, and hand it on."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    change,
    query,
    read_config,
    refuse,
    write,
)
from liveweights.cli.output import say, show, show_json
from liveweights.insight.window import NOW, WindowError, parse_time
from liveweights.meter.exports import (
    METERS,
    STRIPE,
    ExportError,
    cloud_event,
    read_charges,
    settle_until,
    stripe_row,
)
from liveweights.meter.ledger_days import OPENING, SealedDay, close_days, read_days
from liveweights.meter.ledger_proof import Proof, prove
from liveweights.meter.reversals import reverse
from liveweights.store.database import Connection
from liveweights.terminal import escape_json

ledger = typer.Typer(
    no_args_is_help=True,
    help="What each answer was charged: proved, corrected by reversals, and handed on.",
)
Form = Literal["openmeter", "stripe"]


@ledger.command()
def verify(
    expect: Annotated[
        list[str] | None,
        typer.Option(help="DAY:HASH that was kept elsewhere; may be repeated."),
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Work out every charge again from recorded tokens and prices, and check every sealed day and
    closed invoice.

    Ends with status 1 where anything differs.
    """
    kept = dict(_kept(text) for text in expect or ())

    async def run(conn: Connection) -> tuple[Proof, list[SealedDay]]:
        await conn.commit()
        return await prove(conn), await read_days(conn)

    proof, days = query(read_config(config, home), home, run)
    known = {f"{one.day}": one.hash.hex() for one in days}
    other = sorted(day for day, hash in kept.items() if known.get(day) != hash)
    if as_json:
        told = asdict(proof) | {"holds": proof.holds and not other, "not_as_kept": other}
        show_json({**told, "days": known})
    else:
        _tell(proof, other)
    if other or not proof.holds:
        raise typer.Exit(1)


def _tell(proof: Proof, other: list[str]) -> None:
    apart = proof.entries - proof.from_answers
    say(
        f"{proof.entries} charges worked out again, {proof.from_answers} from the recorded answer "
        f"and {apart} from their own counts; {proof.reversals} reversals: {proof.wrong} differences"
    )
    for one in proof.differences:
        for name, (is_, meant) in one.values.items():
            say(f"{one.id}: {name} is {is_} and should be {meant}", fg="red")
    for id in proof.missing:
        say(f"{id} was answered and is not in the ledger", fg="red")
    for day in proof.broken_days:
        say(f"{day}: the entries are not those that were sealed", fg="red")
    for number in proof.broken_invoices:
        say(f"invoice {number} is not what the ledger says", fg="red")
    for day in other:
        say(f"{day}: the hash is not the one that was kept", fg="red")


@ledger.command("days")
def list_days(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """Seal the days that are over, and list all with their hashes: keep one elsewhere."""

    async def also(conn: Connection, days: Sequence[SealedDay]) -> None:
        await note(conn, Event("seal days", "ledger", {"days": [one.day for one in days]}))

    async def run(conn: Connection) -> list[SealedDay]:
        await close_days(conn, also=also)
        return await read_days(conn)

    found = [
        {**asdict(one), "hash": one.hash.hex(), "closed_at": f"{one.closed_at:%Y-%m-%d %H:%M}"}
        for one in write(read_config(config, home), home, run)
        if one.day != OPENING
    ]
    show(found, ("day", "entries", "hash", "closed_at"), as_json)


@ledger.command("reverse")
def reverse_charges(
    answers: Annotated[list[str], typer.Argument(help="Ids of answers, gen_...")],
    reason: Annotated[str, typer.Option(help="Kept with the correction.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Take back what answers were charged. The charges stay, and the correction is on the invoice
    of the month in which it is made."""
    if not reason.strip():
        raise refuse("--reason says why; it may not be empty")

    async def do(conn: Connection) -> tuple[int, Event]:
        count = await reverse(conn, answers, reason)
        return count, Event("reverse charges", "ledger", {"answers": answers, "reason": reason})

    say(f"{change(read_config(config, home), home, do)} charges are taken back")


@ledger.command()
def export(
    form: Annotated[
        Form, typer.Argument(help="CloudEvents, one a line, or a CSV file of meter events.")
    ],
    since: Annotated[
        str,
        typer.Option(help="Booked since: 90m, 12h, 7d, 2w ago, or a date or time (UTC)."),
    ] = "1d",
    until: Annotated[
        str, typer.Option(help="As --since; booked before this, which may not be to come.")
    ] = NOW,
    tenant: Annotated[str | None, typer.Option(help="One tenant; default: all.")] = None,
    event_name: Annotated[str, typer.Option(help="The name of the meter at Stripe.")] = (
        "liveweights"
    ),
    meter: Annotated[str, typer.Option(help=f"For Stripe: {', '.join(METERS)}.")] = "tokens",
    customers: Annotated[
        Path | None, typer.Option(help="JSON file: tenant to the customer's id at Stripe.")
    ] = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Print every charge that was booked in a time, for another billing system.

    An answer is booked when it ends, or later where the database was away. Exports that follow one
    another, each --since the --until of the one before, have each charge exactly once; the end of
    this one is printed to stderr.
    """
    now = datetime.now(UTC)
    try:
        start, end = parse_time(since, now), parse_time(until, now)
    except WindowError as error:
        raise refuse(str(error)) from error
    if meter not in METERS:
        raise refuse(f"{meter[:50]!r} is no meter; there are {', '.join(METERS)}")
    ids = _customers(customers)

    async def run(conn: Connection) -> datetime:
        settled = await settle_until(conn, None if until == NOW else end)
        charges = read_charges(conn, start, settled, tenant)
        if form == "openmeter":
            async for charge in charges:
                print(escape_json(json.dumps(cloud_event(charge))))
            return settled
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(STRIPE)
        async for charge in charges:
            if row := stripe_row(charge, event_name, meter, ids):
                writer.writerow(row)
        return settled

    try:
        settled = query(read_config(config, home), home, run)
    except ExportError as error:
        raise refuse(str(error)) from error
    say(f"all that was booked before {settled.astimezone(UTC).isoformat()} is there", err=True)


def _customers(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise refuse(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise refuse(f"{file} is no JSON object of tenants and customers")
    return {str(name): str(id) for name, id in found.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _kept(text: str) -> tuple[str, str]:
    day, _, hash = text.partition(":")
    if len(hash) != 64:
        raise refuse(f"{text[:80]!r} is no DAY:HASH as `liveweights ledger days` lists them")
    return day, hash.lower()
