"""``liveweights invoice``: what a tenant owes for a month."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Literal

import typer

from liveweights.access.audit import Event
from liveweights.cli.context import HOME, Home, Settings, change, query, read_config, refuse
from liveweights.cli.output import say, show_csv, show_json, show_table
from liveweights.meter.invoice import Invoice, Month
from liveweights.meter.invoice_pages import COLUMNS, facts, page, shown, table, title
from liveweights.meter.invoice_pdf import PdfUnavailable, check_pdf, write_pdf
from liveweights.meter.invoice_rows import (
    InvoiceError,
    close_invoice,
    find_month,
    read_invoice,
)
from liveweights.meter.tenants import find_zone
from liveweights.store.database import Connection
from liveweights.terminal import clean

Form = Literal["table", "json", "csv", "html", "pdf"]
HEADS = ("", "requests", "prompts", "cached", "answers", "amount")
"""What fits a terminal, of ``invoice_pages.HEADS``."""


def invoice(
    tenant: Annotated[str, typer.Argument(help="Who is billed.")],
    month: Annotated[str, typer.Option(help="Such as 2026-10, of the tenant's time zone.")],
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Into this file; needed for pdf.")] = None,
    close: Annotated[
        bool,
        typer.Option(
            "--close", help="Freeze a month that is over: corrections go to the next one."
        ),
    ] = False,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Show what a tenant owes for a month, with lines per model, taxes and levies."""
    settings = read_config(config, home)
    billing = settings.billing
    if form == "pdf" and output is None:
        raise refuse("a PDF goes into a file: say --output FILE")
    if output is not None:
        _check_output(form, output)
    try:
        Month.parse(month, find_zone(billing.time_zone))
    except ValueError as error:
        raise refuse(str(error)) from error

    async def read(conn: Connection) -> Invoice:
        wanted = await find_month(conn, tenant, month, billing)
        return await read_invoice(conn, tenant, wanted, billing)

    async def freeze(conn: Connection) -> tuple[Invoice, Event | None]:
        wanted = await find_month(conn, tenant, month, billing)
        before = await read_invoice(conn, tenant, wanted, billing)
        made = await close_invoice(conn, tenant, wanted, billing)
        if before.number is not None:
            return made, None
        return made, Event("close invoice", tenant, {"month": month, "number": made.number})

    try:
        made = change(settings, home, freeze) if close else query(settings, home, read)
        _write(made, form, output)
    except (InvoiceError, PdfUnavailable) as error:
        raise refuse(str(error)) from error


def _check_output(form: Form, output: Path) -> None:
    """Before a month is frozen: ends the command where its invoice could not be written."""
    try:
        if form == "pdf":
            check_pdf()
    except PdfUnavailable as error:
        raise refuse(str(error)) from error
    if not output.parent.is_dir():
        raise refuse(f"there is no folder {output.parent}")
    if output.is_dir() or not os.access(output if output.exists() else output.parent, os.W_OK):
        raise refuse(f"{output} cannot be written")


def _write(made: Invoice, form: Form, output: Path | None) -> None:
    if form == "pdf":
        assert output is not None
        output.write_bytes(write_pdf(made))
    elif output is None:
        _print(made, form)
        return
    else:
        with output.open("w", encoding="utf-8", newline="") as file, redirect_stdout(file):
            _print(made, form)
    say(f"written to {output}", err=True)


def _print(made: Invoice, form: Form) -> None:
    match form:
        case "json":
            show_json(made)
        case "csv":
            show_csv(COLUMNS, table(made))
        case "html":
            print(clean(page(made), keep="\n"), end="")
        case _:
            _show(made)


def _show(made: Invoice) -> None:
    say(title(made))
    for name, text in facts(made):
        say(f"{name}: {text}")
    for statement in made.statements:
        rows = shown(statement)
        show_table(HEADS, [(one.name, *one.cells) for one in rows])
        for one in rows:
            if one.remark:
                say(f"  {one.name}: {one.remark}")
    if not made.statements:
        say("nothing was charged")
